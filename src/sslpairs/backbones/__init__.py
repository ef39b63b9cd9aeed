"""Networks: images in, one feature vector per image out."""
