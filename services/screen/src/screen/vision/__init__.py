"""What is said of one picture, and of pictures that belong together: boxes, embeddings, errors against labels.

Pure; everything else in screen may use it.
"""
