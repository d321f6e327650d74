"""The forms of configuration, one module each: a form turns what another system's file says into native blocks."""
