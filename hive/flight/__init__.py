"""One flight, from slot to jar, in the order of its files: create, plan, collect, seal, process, land, close.

`work` is what a hint leads to: it claims a task, runs it, and writes down what became of it.
"""
