"""Networks: images in, one feature vector an image out."""
