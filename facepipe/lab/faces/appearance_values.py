"""Everything about a picture of a face that is not its shape, one value per name."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Colour = tuple[float, float, float]
"""Linear RGB, 1 is a white surface or a light that exposes one fully."""


@dataclass(frozen=True)
class Look:
    """The appearance of one face. Colours and lights are linear; every other value is 0..1 unless said.

    Attributes:
        melanin: skin tone, 0 the lightest and 1 the darkest; `blood` its redness.
        blotches, freckles, wrinkles, shine, pores: how strong each is.
        lip_colour, lip_paint: make-up on the lips and how much of it covers.
        lid_colour, lid_paint: the same on the eyelids. `lash`: darkness of the lid margins.
        brow_*: width (mm), arch (mm), height offset (mm) and density of the brows.
        beard, moustache, stubble_length: density of facial hair and how far it stands off (mm).
        hair_*: colour, thickness (mm) and its increase at the top, frizz, contrast of strands, hairline
            (mm above the eyes), how far a parting raises it (mm), where it runs (-1..1), lower end at the
            sides and the nape (mm), density, recession, shine; long_hair: whether a sheet of it is worn,
            and where it is cut (mm).
        iris_colour, pupil (radians), gaze (radians: right, up), sclera brightness.
        shirt, shirt_pattern, neckline (mm below the chin).
        key_*, fill_*, rim_*: direction (x right, y down, z to the camera) and light; `sky`, `ground`, `side`
            are the surroundings' light from above, below and along `side_direction`.
        shadow: how dark cast shadows are. `softness`: width of their edges in pixels of the shadow map.
        exposure: brightness of the face's middle in the picture, linear.
        glasses, dark_lenses, hat, hand: whether each is there (0 or 1), with colours, sizes and place.
        noise_*: offsets into the noise that tell two faces' textures apart.
    """

    melanin: float
    blood: float
    blotches: float
    freckles: float
    wrinkles: float
    shine: float
    pores: float
    lip_colour: Colour
    lip_paint: float
    lid_colour: Colour
    lid_paint: float
    lash: float
    brow_width_mm: float
    brow_arch_mm: float
    brow_height_mm: float
    brow_density: float
    brow_colour: Colour
    beard: float
    moustache: float
    stubble_length_mm: float
    hair_colour: Colour
    hair_thickness_mm: float
    hair_top: float
    hair_frizz: float
    hair_contrast: float
    hairline_mm: float
    hair_parted_mm: float
    hair_side_mm: float
    hair_nape_mm: float
    hair_parting: float
    hair_density: float
    hair_recession: float
    hair_shine: float
    long_hair: float
    long_hair_cut_mm: float
    iris_colour: Colour
    pupil_rad: float
    gaze_right_rad: float
    gaze_up_rad: float
    sclera: float
    shirt: Colour
    shirt_second: Colour
    shirt_pattern: float
    neckline_mm: float
    key_direction: Colour
    key: Colour
    fill_direction: Colour
    fill: Colour
    rim_direction: Colour
    rim: Colour
    sky: Colour
    ground: Colour
    side: Colour
    side_direction: Colour
    shadow: float
    softness: float
    exposure: float
    glasses: float
    dark_lenses: float
    lens_colour: Colour
    frame_colour: Colour
    frame_radius_mm: float
    lens_width_mm: float
    lens_height_mm: float
    lens_power: float
    hat: float
    hat_colour: Colour
    hat_line_mm: float
    hand: float
    hand_x_mm: float
    hand_y_mm: float
    hand_turn_rad: float
    hand_tilt_rad: float
    noise_offset: Colour

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Every value as float32, () or (3, 1)."""
        found = {field.name: np.asarray(getattr(self, field.name), np.float32) for field in fields(self)}
        return {name: value[:, None] if value.ndim else value for name, value in found.items()}
