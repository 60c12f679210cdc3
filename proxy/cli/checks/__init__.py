"""What `scalesim doctor` looks at, a module for each part. Rules are plain functions over what was found; looking is apart from them."""
