/* needs: matvec_u8_w8 */
/* matvec_u8_w8 of four vectors, x + p * stride into acc + p * rows. */
static void matvec4_u8_w8(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t stride, size_t rows,
                          size_t columns)
{
    for (size_t p = 0; p < 4; ++p) {
        matvec_u8_w8(acc + p * rows, weight, x + p * stride, rows, columns);
    }
}
