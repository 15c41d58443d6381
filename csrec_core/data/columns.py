"""The columns of the log, each named once."""

SELF, SYSTEM = "self", "system"
SOURCES = (SELF, SYSTEM)  # the arms of the paper; a log may have others
KEY = ["user", "t", "source"]
FEATURE = "feature_"  # how the columns begin that describe an exposure, such as `feature_preference`; numbers
#: What a file may hold, and what a message expects in it.
COLUMNS = {
    "user": "a whole number or text",
    "t": "a whole number",
    "item": "a whole number or text",
    "decision": "0 (rejected) or 1 (accepted)",
    "source": "a word for who chose the exposure",
    "propensity": "a probability in (0, 1], or nothing where it is not known",
    "arm_propensity": "a probability in (0, 1]",
    "probability": "a probability in [0, 1]",
    "outcome": "a finite number",
    "position": "a whole number, the place in the list from 1",
    "timestamp": "a number or a time such as 2026-11-23T14:05:00",
}
