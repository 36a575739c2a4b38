/* y[q][p] = parts[p][q]: the four parts of each quaternion side by side. */
static void side_by_side_s16(int16_t *y, const int16_t *parts, size_t quaternions)
{
    for (size_t q = 0; q < quaternions; q++) {
        for (size_t p = 0; p < 4; p++) {
            y[q * 4 + p] = parts[p * quaternions + q];
        }
    }
}
