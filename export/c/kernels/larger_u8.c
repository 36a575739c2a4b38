/* y[c] = max(y[c], x[c]). */
static void larger_u8(uint8_t *y, const uint8_t *x, size_t count)
{
    for (size_t c = 0; c < count; c++) {
        y[c] = x[c] > y[c] ? x[c] : y[c];
    }
}
