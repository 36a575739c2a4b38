#include <immintrin.h>
/* vpdpbusd of code + 8 of each field, which -8 times the sum of x puts right. Two tiles at a time. */
static void matvec_u8_w4(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t rows, size_t columns)
{
    const __m256i flip = _mm256_set1_epi8(-0x78), field = _mm256_set1_epi8(0x0f);
    __m256i total = _mm256_setzero_si256();
    for (size_t column = 0; column < columns; ++column) {
        total = _mm256_add_epi32(total, _mm256_set1_epi32(x[column]));
    }
    total = _mm256_slli_epi32(total, 3);
    const size_t tile = MODEL_TILE * columns / 2;
    for (size_t row = 0; row < rows; row += 2 * MODEL_TILE) {
        /* Past the last tile it is read again, and what comes of it is left out. */
        const size_t left = (rows - row) / MODEL_TILE;
        const uint8_t *w0 = weight + row / MODEL_TILE * tile;
        const uint8_t *w1 = left > 1 ? w0 + tile : w0;
        __m256i sum0 = _mm256_setzero_si256(), sum1 = sum0, sum2 = sum0, sum3 = sum0;
        for (size_t column = 0, at = 0; column < columns; column += 8, at += 64) {
            int32_t words[2];
            memcpy(words, x + column, sizeof words);
            const __m256i x0 = _mm256_set1_epi32(words[0]), x1 = _mm256_set1_epi32(words[1]);
            const __m256i codes0 = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(w0 + at)), flip);
            sum0 = _mm256_dpbusd_avx_epi32(sum0, x0, _mm256_and_si256(codes0, field));
            sum0 = _mm256_dpbusd_avx_epi32(sum0, x1, _mm256_and_si256(_mm256_srli_epi16(codes0, 4), field));
            const __m256i codes1 = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(w0 + at + 32)), flip);
            sum1 = _mm256_dpbusd_avx_epi32(sum1, x0, _mm256_and_si256(codes1, field));
            sum1 = _mm256_dpbusd_avx_epi32(sum1, x1, _mm256_and_si256(_mm256_srli_epi16(codes1, 4), field));
            const __m256i codes2 = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(w1 + at)), flip);
            sum2 = _mm256_dpbusd_avx_epi32(sum2, x0, _mm256_and_si256(codes2, field));
            sum2 = _mm256_dpbusd_avx_epi32(sum2, x1, _mm256_and_si256(_mm256_srli_epi16(codes2, 4), field));
            const __m256i codes3 = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(w1 + at + 32)), flip);
            sum3 = _mm256_dpbusd_avx_epi32(sum3, x0, _mm256_and_si256(codes3, field));
            sum3 = _mm256_dpbusd_avx_epi32(sum3, x1, _mm256_and_si256(_mm256_srli_epi16(codes3, 4), field));
        }
        int32_t *y = acc + row;
        _mm256_storeu_si256((__m256i *)y,
                            _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)y), _mm256_sub_epi32(sum0, total)));
        _mm256_storeu_si256((__m256i *)(y + 8), _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(y + 8)),
                                                                 _mm256_sub_epi32(sum1, total)));
        if (left > 1) {
            _mm256_storeu_si256((__m256i *)(y + 16), _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(y + 16)),
                                                                      _mm256_sub_epi32(sum2, total)));
            _mm256_storeu_si256((__m256i *)(y + 24), _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(y + 24)),
                                                                      _mm256_sub_epi32(sum3, total)));
        }
    }
}
