/* A PKCS#11 module that hands every call on to another one, and makes faults on the way (tests/faults/shim.py).
 *
 * SEALWARD_SHIM_MODULE names the real module, SEALWARD_SHIM_CONTROL a file that is mapped into memory: whoever maps it
 * too gives a running process a fault, at once. SEALWARD_SHIM_LOG gets a line for each C_Sign: time in nanoseconds,
 * process, CKA_ID of the key, SHA-256 of what is signed. It is written before the real module signs, by one write.
 * SEALWARD_SHIM_PARAMETERS is given to C_Initialize in the place that NSS reads its parameters from.
 *
 * Every argument of every PKCS#11 function is an integer or a pointer, so that all are handed on as machine words.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long word;
typedef word (*function)(word, word, word, word, word, word, word, word);

enum { FUNCTIONS = 68, ENGINES = 64, SESSIONS = 4096, LONGEST_ID = 32, ROOM = 1024 };
/* Positions in CK_FUNCTION_LIST after the version (PKCS#11 v2.40, pkcs11f.h). */
enum { INITIALIZE = 0, GET_FUNCTION_LIST = 3, GET_ATTRIBUTE_VALUE = 24, FIND_OBJECTS_FINAL = 28 };
enum { ENCRYPT = 30, DECRYPT = 34, SIGN_INIT = 42, SIGN = 43 };
enum { CKR_GENERAL_ERROR = 5, CKA_ID = 0x102 };
/* Results that no module gives: hang until the fault is taken away; flip a bit of what comes out. */
static const word HANG = 0xFFFFFFFF00000001, ALTER = 0xFFFFFFFF00000002;

/* What is asked of one function. Its n-th call fails with `result` when first <= n <= last. */
struct plan {
    _Atomic uint64_t calls, fired, first, last, result;
    _Atomic uint64_t service; /* nanoseconds that an engine is busy with a call */
    _Atomic uint64_t engines; /* how many calls are served at a time; 0: all */
    _Atomic uint64_t free_at[ENGINES];
};

struct control {
    _Atomic uint64_t round_trip; /* nanoseconds, for every call of every function */
    struct plan plans[FUNCTIONS];
};

struct list {
    unsigned char version[2];
    function functions[FUNCTIONS];
};

struct attribute {
    word type;
    void *value;
    word length;
};

static struct list ours, *real;
static struct control *control;
static int log_file = -1;
static const char *parameters;
static char ids[SESSIONS][2 * LONGEST_ID + 1]; /* in hex, of the key that each session signs with */

static uint64_t now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void sleep_until(uint64_t moment) {
    struct timespec time = {(time_t)(moment / 1000000000), (long)(moment % 1000000000)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) != 0) {
    }
}

/* Book the engine that is free first, and return when it will have served this call. Nothing is held meanwhile, so that
 * a process may be killed at any moment. */
static uint64_t book(struct plan *plan) {
    uint64_t engines = plan->engines, present = now(CLOCK_MONOTONIC);
    if (engines == 0)
        return present + plan->service;
    if (engines > ENGINES)
        engines = ENGINES;
    for (;;) {
        unsigned best = 0;
        for (unsigned engine = 1; engine < engines; engine++)
            if (plan->free_at[engine] < plan->free_at[best])
                best = engine;
        uint64_t seen = plan->free_at[best];
        uint64_t done = (seen > present ? seen : present) + plan->service;
        if (atomic_compare_exchange_strong(&plan->free_at[best], &seen, done))
            return done;
    }
}

static uint32_t rotate(uint32_t value, int bits) {
    return value >> bits | value << (32 - bits);
}

static void sha256_block(uint32_t state[8], const unsigned char *block) {
    static const uint32_t K[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 |
               block[4 * i + 3];
    for (int i = 16; i < 64; i++)
        w[i] = w[i - 16] + w[i - 7] + (rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3) +
               (rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10);
    memcpy(s, state, sizeof s);
    for (int i = 0; i < 64; i++) {
        uint32_t first = s[7] + (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25)) +
                         ((s[4] & s[5]) ^ (~s[4] & s[6])) + K[i] + w[i];
        uint32_t second = (rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22)) +
                          ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += first;
        s[0] = first + second;
    }
    for (int i = 0; i < 8; i++)
        state[i] += s[i];
}

static void sha256(const unsigned char *data, size_t length, uint32_t state[8]) {
    static const uint32_t START[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    unsigned char tail[128] = {0};
    size_t left = length % 64, tail_size = left < 56 ? 64 : 128;
    memcpy(state, START, sizeof START);
    for (size_t at = 0; at + 64 <= length; at += 64)
        sha256_block(state, data + at);
    memcpy(tail, data + length - left, left);
    tail[left] = 0x80;
    for (int i = 0; i < 8; i++)
        tail[tail_size - 1 - i] = (unsigned char)((uint64_t)length * 8 >> 8 * i);
    for (size_t at = 0; at < tail_size; at += 64)
        sha256_block(state, tail + at);
}

/* Remember which key the session is about to sign with. */
static void note_key(word session, word key) {
    unsigned char id[LONGEST_ID];
    struct attribute wanted = {CKA_ID, id, sizeof id};
    char *text = ids[session % SESSIONS];
    strcpy(text, "?");
    if (real->functions[GET_ATTRIBUTE_VALUE](session, key, (word)&wanted, 1, 0, 0, 0, 0) == 0 && wanted.length > 0 &&
        wanted.length <= sizeof id)
        for (word i = 0; i < wanted.length; i++)
            sprintf(text + 2 * i, "%02x", id[i]);
}

static void note_signature(word session, const unsigned char *data, word length) {
    uint32_t digest[8];
    char line[256];
    if (log_file < 0)
        return;
    sha256(data, length, digest);
    int size = snprintf(line, sizeof line, "%llu %d %s ", (unsigned long long)now(CLOCK_REALTIME), (int)getpid(),
                        ids[session % SESSIONS]);
    for (int i = 0; i < 8; i++)
        size += snprintf(line + size, sizeof line - (size_t)size, "%08x", digest[i]);
    line[size++] = '\n';
    if (write(log_file, line, (size_t)size) != size)
        abort(); /* a log with holes proves nothing */
}

/* CK_C_INITIALIZE_ARGS as NSS has it: the sixth word, reserved elsewhere, points to its parameters. */
static word initialize(const word *given) {
    word arguments[7] = {0};
    if (given != NULL)
        memcpy(arguments, given, 5 * sizeof *given);
    arguments[5] = (word)parameters;
    return real->functions[INITIALIZE]((word)arguments, 0, 0, 0, 0, 0, 0, 0);
}

static word hand_on(int number, word a, word b, word c, word d, word e, word f, word g, word h) {
    if (number == INITIALIZE && parameters != NULL)
        return initialize((const word *)a);
    if (number == SIGN_INIT && log_file >= 0)
        note_key(a, c);
    if (number == SIGN && d != 0)
        note_signature(a, (const unsigned char *)b, c);
    return real->functions[number](a, b, c, d, e, f, g, h);
}

/* A function that fails has ended its operation: whatever of it is active in the real module must not stay so. */
static void end_operation(int number, word a, word b, word c) {
    word length = c + ROOM;
    void *output = malloc(length);
    if (number == SIGN || number == ENCRYPT || number == DECRYPT)
        hand_on(number, a, b, c, (word)output, (word)&length, 0, 0, 0);
    else if (number == FIND_OBJECTS_FINAL)
        hand_on(number, a, 0, 0, 0, 0, 0, 0, 0);
    free(output);
}

static word call(int number, word a, word b, word c, word d, word e, word f, word g, word h) {
    struct plan *plan = &control->plans[number];
    uint64_t turn = atomic_fetch_add(&plan->calls, 1) + 1;
    int asks_size = number == SIGN && d == 0; /* answered without the device's engines */
    uint64_t done = (asks_size ? now(CLOCK_MONOTONIC) : book(plan)) + control->round_trip;
    word result = 0;
    if (plan->first <= turn && turn <= plan->last) {
        result = plan->result;
        plan->fired++;
        while (result == HANG && plan->result == HANG && turn <= plan->last)
            sleep_until(now(CLOCK_MONOTONIC) + 5000000);
        if (result == HANG)
            result = 0;
    }
    if (result != 0 && result != ALTER) {
        end_operation(number, a, b, c);
        sleep_until(done);
        return result;
    }
    word value = hand_on(number, a, b, c, d, e, f, g, h);
    if (result == ALTER && value == 0 && number == SIGN && d != 0)
        ((unsigned char *)d)[0] ^= 1;
    if (done > now(CLOCK_MONOTONIC))
        sleep_until(done);
    return value;
}

#define EACH(X)                                                                                                        \
    X(0) X(1) X(2) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15) X(16) X(17) X(18) X(19) X(20)     \
    X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31) X(32) X(33) X(34) X(35) X(36) X(37) X(38) X(39)  \
    X(40) X(41) X(42) X(43) X(44) X(45) X(46) X(47) X(48) X(49) X(50) X(51) X(52) X(53) X(54) X(55) X(56) X(57) X(58)  \
    X(59) X(60) X(61) X(62) X(63) X(64) X(65) X(66) X(67)
#define DEFINE(n)                                                                                                      \
    static word call_##n(word a, word b, word c, word d, word e, word f, word g, word h) {                             \
        return call(n, a, b, c, d, e, f, g, h);                                                                        \
    }
EACH(DEFINE)

word C_GetFunctionList(struct list **list);

__attribute__((constructor)) static void load(void) {
    const char *module = getenv("SEALWARD_SHIM_MODULE"), *path = getenv("SEALWARD_SHIM_CONTROL");
    const char *log = getenv("SEALWARD_SHIM_LOG");
    int file = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    void *library = module == NULL ? NULL : dlopen(module, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL || file < 0)
        return;
    void *memory = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    word (*get)(struct list **) = (word(*)(struct list **))dlsym(library, "C_GetFunctionList");
    close(file);
    if (memory == MAP_FAILED || get == NULL || get(&real) != 0)
        return;
    parameters = getenv("SEALWARD_SHIM_PARAMETERS");
    parameters = parameters == NULL ? NULL : strdup(parameters);
    log_file = log == NULL ? -1 : open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    ours = *real;
#define PUT(n)                                                                                                         \
    if (real->functions[n] != NULL)                                                                                    \
        ours.functions[n] = call_##n;
    EACH(PUT)
    ours.functions[GET_FUNCTION_LIST] = (function)(void *)C_GetFunctionList;
    control = memory;
}

/* Without its environment, or with a control file that is not there, the shim is no module. */
word C_GetFunctionList(struct list **list) {
    if (control == NULL || list == NULL)
        return CKR_GENERAL_ERROR;
    *list = &ours;
    return 0;
}
