"""What a run keeps on the disk, to go on from: complete or not there."""
