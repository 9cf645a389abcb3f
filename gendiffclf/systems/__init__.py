"""Other systems for speech emotion recognition, EmoSphere-SER and SELM, as scikit-learn estimators."""
