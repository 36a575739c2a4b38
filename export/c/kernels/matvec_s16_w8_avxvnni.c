#include <immintrin.h>
/* vpdpbusd twice: x = 256 h + l with bytes h (signed) and l (unsigned). l times w needs nothing more; of h times w
   the weights are the unsigned operand, w + 128, which -128 times the sum of h puts right. Two tiles at a time. */
static void matvec_s16_w8(int32_t *acc, const uint8_t *weight, const int16_t *x, size_t rows, size_t columns)
{
    const __m256i low = _mm256_set1_epi32(0x06040200), high = _mm256_set1_epi32(0x07050301);
    const __m256i flip = _mm256_set1_epi8(-0x80);
    /* 128 times the sum of h, times 256: x without its low byte is 256 h. */
    const __m256i without = _mm256_set1_epi32(-256);
    __m256i total = _mm256_setzero_si256();
    for (size_t column = 0; column < columns; ++column) {
        total = _mm256_add_epi32(total, _mm256_and_si256(_mm256_set1_epi32(x[column]), without));
    }
    total = _mm256_slli_epi32(total, 7);
    const size_t tile = MODEL_TILE * columns;
    for (size_t row = 0; row < rows; row += 2 * MODEL_TILE) {
        /* Past the last tile it is read again, and what comes of it is left out. */
        const size_t left = (rows - row) / MODEL_TILE;
        const uint8_t *w0 = weight + row / MODEL_TILE * tile;
        const uint8_t *w1 = left > 1 ? w0 + tile : w0;
        __m256i a0 = _mm256_setzero_si256(), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
        for (size_t column = 0, at = 0; column < columns; column += 4, at += 64) {
            int64_t words;
            memcpy(&words, x + column, sizeof words);
            const __m256i entries = _mm256_set1_epi64x(words);
            const __m256i l = _mm256_shuffle_epi8(entries, low), h = _mm256_shuffle_epi8(entries, high);
            const __m256i codes0 = _mm256_loadu_si256((const __m256i *)(w0 + at));
            a0 = _mm256_dpbusd_avx_epi32(a0, l, codes0);
            b0 = _mm256_dpbusd_avx_epi32(b0, _mm256_xor_si256(codes0, flip), h);
            const __m256i codes1 = _mm256_loadu_si256((const __m256i *)(w0 + at + 32));
            a1 = _mm256_dpbusd_avx_epi32(a1, l, codes1);
            b1 = _mm256_dpbusd_avx_epi32(b1, _mm256_xor_si256(codes1, flip), h);
            const __m256i codes2 = _mm256_loadu_si256((const __m256i *)(w1 + at));
            a2 = _mm256_dpbusd_avx_epi32(a2, l, codes2);
            b2 = _mm256_dpbusd_avx_epi32(b2, _mm256_xor_si256(codes2, flip), h);
            const __m256i codes3 = _mm256_loadu_si256((const __m256i *)(w1 + at + 32));
            a3 = _mm256_dpbusd_avx_epi32(a3, l, codes3);
            b3 = _mm256_dpbusd_avx_epi32(b3, _mm256_xor_si256(codes3, flip), h);
        }
        a0 = _mm256_sub_epi32(_mm256_add_epi32(a0, _mm256_slli_epi32(b0, 8)), total);
        a1 = _mm256_sub_epi32(_mm256_add_epi32(a1, _mm256_slli_epi32(b1, 8)), total);
        a2 = _mm256_sub_epi32(_mm256_add_epi32(a2, _mm256_slli_epi32(b2, 8)), total);
        a3 = _mm256_sub_epi32(_mm256_add_epi32(a3, _mm256_slli_epi32(b3, 8)), total);
        int32_t *y = acc + row;
        _mm256_storeu_si256((__m256i *)y, _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)y), a0));
        _mm256_storeu_si256((__m256i *)(y + 8), _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(y + 8)), a1));
        if (left > 1) {
            _mm256_storeu_si256((__m256i *)(y + 16),
                                _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(y + 16)), a2));
            _mm256_storeu_si256((__m256i *)(y + 24),
                                _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(y + 24)), a3));
        }
    }
}
