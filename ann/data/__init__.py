"""From files to checked arrays: data sets, downloads, distortion and pictures of handwriting."""
