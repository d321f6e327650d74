"""What personal data stands where: texts in, hits out."""
