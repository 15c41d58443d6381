"""The paper's experiment again, beside what it leaves out."""
