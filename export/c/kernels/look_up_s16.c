/* y[n] = table[index[n]]; y may be index. */
static void look_up_s16(int16_t *y, const int16_t *index, const int16_t *table, size_t count)
{
    for (size_t n = 0; n < count; n++) {
        y[n] = table[index[n]];
    }
}
