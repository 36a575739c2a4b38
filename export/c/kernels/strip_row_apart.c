/* As strip_row of bytes, where the four parts of quaternions lie side by side in the image, [width][size][4]: they come to lie apart. */
static void strip_row_apart(uint8_t *strip, const uint8_t *row, size_t left, size_t width, size_t right, size_t size,
                            size_t part, size_t step, size_t dilation, size_t phase, uint8_t fill)
{
    for (size_t column = 0; column < left + width + right; column++) {
        uint8_t *to = strip + (dilation == 1 ? column : column % dilation * phase + column / dilation) * step;
        const int inside = row != NULL && column >= left && column < left + width;
        for (size_t p = 0; p < 4; p++) {
            for (size_t q = 0; q < size; q++) {
                to[p * part + q] = inside ? row[((column - left) * size + q) * 4 + p] : fill;
            }
        }
    }
}
