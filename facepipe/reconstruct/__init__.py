"""From a photo to coloured meshes."""
