/* Reads pixels from standard input, one a line, and says after each image which digit it was:
   cc -O3 loop.c model.c -lm -o loop */
#include "model.h"

#include <math.h>
#include <stdio.h>

#define SCALE 0.0625f /* of x, as model.h says */

int main(void)
{
    static model_state state;
    static int16_t output[MODEL_OUTPUT_SIZE];
    char line[64];

    model_init(&state);
    while (fgets(line, sizeof line, stdin) != NULL) {
        float pixel;
        if (sscanf(line, "%f", &pixel) == 1) {
            float steps = rintf(pixel / SCALE); /* ties to even */
            uint8_t x = (uint8_t)fminf(fmaxf(steps, 0.0f), 255.0f);
            model_step(&state, &x, output);
        } else {
            int best = 0;
            for (int n = 1; n < MODEL_OUTPUT_SIZE; n++) {
                best = output[n] > output[best] ? n : best;
            }
            printf("%d\n", best);
            fflush(stdout);
            model_init(&state);
        }
    }
    return 0;
}
