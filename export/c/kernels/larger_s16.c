/* y[c] = max(y[c], x[c]). */
static void larger_s16(int16_t *y, const int16_t *x, size_t count)
{
    for (size_t c = 0; c < count; c++) {
        y[c] = x[c] > y[c] ? x[c] : y[c];
    }
}
