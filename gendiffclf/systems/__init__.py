"""Systems of speech emotion recognition beside Gen-SER, as scikit-learn estimators, and what they share."""
