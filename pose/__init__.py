"""Human vision: pose, body parts, depth and surface normals."""
