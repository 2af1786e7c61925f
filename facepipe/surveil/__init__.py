"""Surveillance batches: an inbox of images and videos becomes an archive of faces, each input once."""
