"""What every other package needs: conventions, errors, names, schemas, tables, files and progress."""
