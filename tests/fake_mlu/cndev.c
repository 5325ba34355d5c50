/* A libcndev with two cards, for tests/bench/machine/test_cndev.py: built with -DAPI=5 or -DAPI=6, and with -DCARDS=N.
 *
 * Structures are declared here a second time, from cndev.h's published layouts (Cambricon/mlu-exporter 137fbd6 and
 * 934abae) and not from bench/machine/sensors/cndev.py, so that a field read at a wrong offset shows. Numbers that a reader must not
 * confuse differ: every field holds its own value. */
#include <stdint.h>

#ifndef CARDS
#define CARDS 2
#endif

enum { SUCCESS = 0, NO_DRIVER = 1, UNSUPPORTED_API_VERSION = 3, INVALID_DEVICE = 6 };

#define HANDLE(index) (API == 6 ? 100 + (index) : (index)) /* a handle is not an index in version 6 */
#define CHECK(version, handle)                                        \
    do {                                                              \
        if ((version) != API) return UNSUPPORTED_API_VERSION;         \
        if ((handle) < HANDLE(0) || (handle) >= HANDLE(CARDS)) return INVALID_DEVICE; \
    } while (0)

int cndevInit(int reserved) { return reserved == 0 && CARDS > 0 ? SUCCESS : NO_DRIVER; }
int cndevRelease(void) { return SUCCESS; }

typedef struct { int32_t version; uint32_t number; } Count;
int cndevGetDeviceCount(Count *count) {
    if (count->version != API) return UNSUPPORTED_API_VERSION;
    count->number = CARDS;
    return SUCCESS;
}

typedef struct { int32_t version; uint32_t mcu[3], driver[3]; } Version;
int cndevGetVersionInfo(Version *info, int32_t card) {
    CHECK(info->version, card);
    info->mcu[0] = 1, info->mcu[1] = 1, info->mcu[2] = 6;
    info->driver[0] = API, info->driver[1] = 10, info->driver[2] = 13;
    return SUCCESS;
}

typedef struct { int32_t version, board, cluster[20], memory_die[8], chip, air_inlet, air_outlet; } Temperature;
int cndevGetTemperatureInfo(Temperature *info, int32_t card) {
    CHECK(info->version, card);
    info->board = 31, info->cluster[19] = 33, info->memory_die[7] = 34, info->chip = 52, info->air_inlet = 20;
    return SUCCESS;
}

typedef struct { int32_t version, average, core[80]; } Utilisation;
int cndevGetDeviceUtilizationInfo(Utilisation *info, int32_t card) {
    CHECK(info->version, card);
    info->average = 87 + card - HANDLE(0), info->core[0] = 3, info->core[79] = 4;
    return SUCCESS;
}

#if API == 6
typedef struct { int64_t total, used, reserved, vtotal, vused; uint64_t global, room[16]; } Memory;
int cndevGetMemoryUsageV2(Memory *info, int32_t card) {
    CHECK(API, card);
    *info = (Memory){.total = 98304, .used = 33654, .reserved = 7, .vtotal = 1048576, .vused = 10240};
    return SUCCESS;
}

typedef struct { int32_t usage, cap, machine, tdp, maximum, room[16]; } Power;
int cndevGetDevicePowerInfo(Power *info, int32_t card) {
    CHECK(API, card);
    *info = (Power){.usage = 212, .cap = 350, .machine = 1, .tdp = 351, .maximum = 400};
    return SUCCESS;
}

int cndevGetDeviceHandleByIndex(int32_t index, int32_t *handle) {
    *handle = HANDLE(index);
    return SUCCESS;
}

const char *cndevGetCardNameStringByDevId(int32_t card) { return card >= HANDLE(0) ? "MLU590-M9" : ""; }
#else
typedef struct { int32_t version; int64_t total, used, vtotal, vused, channels, channel[20]; } Memory;
int cndevGetMemoryUsage(Memory *info, int32_t card) {
    CHECK(info->version, card);
    info->total = 23374, info->used = 1204, info->vtotal = 1048576, info->vused = 10240, info->channels = 6;
    return SUCCESS;
}

typedef struct { int32_t version, usage, cap, usage_decimal, machine, cap_decimal; uint16_t tdp; } Power;
int cndevGetPowerInfo(Power *info, int32_t card) {
    CHECK(info->version, card);
    info->usage = 106, info->cap = 250, info->usage_decimal = 5, info->machine = 2, info->tdp = 251;
    return SUCCESS;
}

const char *getCardNameStringByDevId(int32_t card) { return card >= 0 ? "MLU370-X8" : ""; }
#endif
