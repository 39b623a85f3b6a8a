"""What a paper trains: networks, losses and predictions; one file a system."""
