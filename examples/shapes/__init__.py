"""The demo detector `shapes`: drawn pictures, a tiny network, its training and its score."""
