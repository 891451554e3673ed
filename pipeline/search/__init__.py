"""Search for better recipes: `make tune STUDY=`."""
