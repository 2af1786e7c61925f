"""facepipe from Python: what `import facepipe as fp` offers, each name loaded when it is first used."""
