"""Everything that makes data and weights: drawn faces, annotated photographs and trainings."""
