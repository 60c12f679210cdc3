"""The engines behind the proxy: which there are and how they are (`registry`), and what they serve (`models`). Pure."""
