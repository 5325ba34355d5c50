/* A libnvidia-ml.so.1 with two cards and a MIG slice of the second, for tests/bench/machine/test_nvml.py, which runs the
 * genuine nvidia-ml-py on it. Signatures and error numbers: nvml.h of CUDA 13.0. The first card tells everything; the
 * slice has no power and no use of its own, as on an A100; -DDRIVER=0 is a library without a kernel module. Every number
 * differs, so that one read through the wrong call shows. FAKE_NVML_PIDS: who computes on the first card. */
#include <stdlib.h>
#include <string.h>

#ifndef DRIVER
#define DRIVER 1
#endif

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9 };
typedef struct { const char *uuid; int slice; } Card;
typedef Card *Device;
static Card cards[] = {{"GPU-5d1f0a3c-0000-4000-8000-000000000001", 0}, {"GPU-5d1f0a3c-0000-4000-8000-000000000002", 0},
                       {"MIG-9b0e5c52-0000-5000-8000-000000000003", 1}};
#define WHOLE(card) if ((card)->slice) return NOT_SUPPORTED

int nvmlInitWithFlags(unsigned flags) { (void)flags; return DRIVER ? SUCCESS : DRIVER_NOT_LOADED; }
const char *nvmlErrorString(int code) { (void)code; return "as the stub says"; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) { strncpy(text, "580.95.05", size); return SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device *card) {
    if (index > 1) return INVALID_ARGUMENT;
    *card = cards + index;
    return SUCCESS;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, Device *card) {
    for (int i = 0; i < 3; i++)
        if (!strcmp(uuid, cards[i].uuid)) { *card = cards + i; return SUCCESS; }
    return NOT_FOUND;
}
int nvmlDeviceGetName(Device card, char *text, unsigned size) {
    strncpy(text, card->slice ? "NVIDIA H200 MIG 1g.18gb" : "NVIDIA H200", size);
    return SUCCESS;
}
int nvmlDeviceGetUUID(Device card, char *text, unsigned size) { strncpy(text, card->uuid, size); return SUCCESS; }
int nvmlDeviceGetPowerUsage(Device card, unsigned *mw) { WHOLE(card); *mw = 412345; return SUCCESS; }
int nvmlDeviceGetTotalEnergyConsumption(Device card, unsigned long long *mj) { WHOLE(card); *mj = 9876543210ULL; return SUCCESS; }
int nvmlDeviceGetTemperature(Device card, int sensor, unsigned *c) {
    WHOLE(card);
    *c = sensor == 0 ? 54 : 99;
    return SUCCESS;
}
int nvmlDeviceGetClockInfo(Device card, int kind, unsigned *mhz) { (void)card; *mhz = kind == 1 ? 1755 : 3201; return SUCCESS; }
int nvmlDeviceGetMaxClockInfo(Device card, int kind, unsigned *mhz) { (void)card; *mhz = kind == 1 ? 1980 : 3202; return SUCCESS; }
typedef struct { unsigned gpu, memory; } Use;
int nvmlDeviceGetUtilizationRates(Device card, Use *use) { WHOLE(card); use->gpu = 97, use->memory = 33; return SUCCESS; }
typedef struct { unsigned long long total, free, used; } Memory;
int nvmlDeviceGetMemoryInfo(Device card, Memory *memory) {
    memory->total = card->slice ? 18ULL << 30 : 141ULL << 30, memory->used = 7ULL << 30;
    memory->free = memory->total - memory->used;
    return SUCCESS;
}
int nvmlDeviceGetCurrentClocksEventReasons(Device card, unsigned long long *reasons) {
    *reasons = card == cards ? 0x4 : 0x40; /* the power cap; heat, by the hardware */
    return SUCCESS;
}
int nvmlDeviceGetTotalEccErrors(Device card, int kind, int counter, unsigned long long *count) {
    if (card != cards) return NOT_SUPPORTED;
    *count = kind == 1 && counter == 0 ? 2 : 77;
    return SUCCESS;
}
int nvmlDeviceGetEccMode(Device card, int *now, int *later) { WHOLE(card); *now = 1, *later = 0; return SUCCESS; }
int nvmlDeviceGetMigMode(Device card, unsigned *now, unsigned *later) { *now = card != cards, *later = 0; return SUCCESS; }
int nvmlDeviceGetPowerManagementLimit(Device card, unsigned *mw) { WHOLE(card); *mw = 500000; return SUCCESS; }
int nvmlDeviceGetPowerManagementDefaultLimit(Device card, unsigned *mw) { WHOLE(card); *mw = 700000; return SUCCESS; }
int nvmlDeviceGetCurrPcieLinkWidth(Device card, unsigned *width) { WHOLE(card); *width = 8; return SUCCESS; }
int nvmlDeviceGetMaxPcieLinkWidth(Device card, unsigned *width) { WHOLE(card); *width = 16; return SUCCESS; }

typedef struct { unsigned pid; unsigned long long memory; unsigned gpu_instance, compute_instance; } Process;
int nvmlDeviceGetComputeRunningProcesses_v3(Device card, unsigned *count, Process *processes) {
    const char *text = card == cards ? getenv("FAKE_NVML_PIDS") : NULL;
    unsigned found = 0, room = processes ? *count : 0;
    for (const char *at = text; at && *at; found++) {
        char *end;
        unsigned pid = strtoul(at, &end, 10);
        if (found < room) processes[found] = (Process){pid, 1ULL << 29, 0, 0};
        at = *end ? end + 1 : end;
    }
    *count = found;
    return found > room ? INSUFFICIENT_SIZE : SUCCESS;
}
