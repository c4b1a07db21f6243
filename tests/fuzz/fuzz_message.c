// FUZZ: control/message.c control/epoch.c control/timeline.c base/utf8.c
// Frames of the control protocol: any bytes are read or refused with a reason, whoever sends them; what is read is put
// back to the same bytes.
#include "control/message.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int from = FROM_WORKER; from <= FROM_PEER; from++) {
        Message m;
        char why[MESSAGE_WHY] = "";
        if (!message_check(data, size, (MessageFrom)from, &m, why)) {
            if (!*why || strlen(why) >= MESSAGE_WHY)
                abort();
            continue;
        }
        uint8_t *again = malloc(size);
        if (message_put(again, size, &m) != size || memcmp(again, data, size) != 0)
            abort();
        free(again);
    }
    return 0;
}
