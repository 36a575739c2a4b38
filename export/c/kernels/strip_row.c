/* One row of an image [width][parts][size] into a strip, which holds the columns that windows read. Sizes are bytes.
   Part p of column c stands at strip + p * part + c * step; with a dilation, columns that one window reads lie together:
   c then counts ((column % dilation) * phase + column / dilation). left and right columns of padding are filled, and where row is
   NULL, outside of the image, all. */
static void strip_row(uint8_t *strip, const uint8_t *row, size_t left, size_t width, size_t right, size_t parts,
                      size_t size, size_t part, size_t step, size_t dilation, size_t phase, uint8_t fill)
{
    for (size_t column = 0; column < left + width + right; column++) {
        uint8_t *to = strip + (dilation == 1 ? column : column % dilation * phase + column / dilation) * step;
        const int inside = row != NULL && column >= left && column < left + width;
        for (size_t p = 0; p < parts; p++) {
            if (inside) {
                memcpy(to + p * part, row + ((column - left) * parts + p) * size, size);
            } else {
                memset(to + p * part, fill, size);
            }
        }
    }
}
