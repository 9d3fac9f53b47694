/* The classes' steps. */
#include "base/mark.h"

#include <string.h>

/* For class 1 to HAK_CLASS_MAX. Of the multiples of 2^-16 above 2^48 / size the first whose product
 * with the last block's place is below 2^47, and with the tail's, if there is one, isn't; plus the
 * first odd multiple of 2^48 with which no address of a block that has other upper bits is one. */
static const uint64_t steps[HAK_CLASS_MAX] = {
    0x0b100000000000, 0x09080000000000, 0x1305555555d55e, 0x05040000000000, 0x1f03333333b33c,
    0x1b02aaaaab2acb, 0x1502492492c92d, 0x03020000000000, 0x1101c71c724725, 0x1b0199999a19ca,
    0x1901745d17c5f2, 0x3101555555d576, 0x11013b13b1bb1c, 0x1901249249a4d3, 0x2d01111111911a,
    0x11010000000000, 0x0b00e38e3963df, 0x1500cccccd4d4e, 0x0f00ba2e8c2309, 0x1d00aaaaab2b2c,
    0x13009d89d91dfb, 0x1f00924925128a, 0x3900888889090a, 0x0d008000000000, 0x3b0071c71cf2a9,
    0x3100666666e6e7, 0x0f005d17465195, 0x1f00555555d5d6, 0x17004ec4ecd009, 0x0f00492492c965,
    0x0700444444c4c5, 0x03004000000000, 0x1b003f03f0bf0c, 0x0f0038e38ebaec, 0x1300333333b3b4,
    0x0d002e8ba36a3f, 0x0b002aaaab2cb3, 0x2900276276a8a6, 0x1300249249a69b, 0x2900222222a2a3,
    0x03002000000000, 0x11001f07c2709d, 0x0b001bacf997f6, 0x0f001861869a6a, 0x2700155555d75e,
    0x07001249251452, 0x05001000000000, 0x1d000f00f08f09, 0x03000e07040202, 0x21000d20d28e64,
    0x1b000c0c0c8c8d, 0x09000b02c1304d, 0x0b000a0a0a8a8b, 0x1500090fdc4173, 0x05000800000000,
    0x0d000703824121, 0x09000606068687, 0x03000505058586, 0x09000400000000, 0x07000300c0b02d,
    0x05000200000000,
};

/* Until there is the flat map: with one kind, that of unit 0. */
static _Alignas(struct hak_marks) unsigned char without_map[sizeof(struct hak_marks) + 8];

struct hak_marks *_Atomic hak_marks = (struct hak_marks *)(void *)without_map;

void hak_marks_fill(struct hak_marks *marks) {
    marks->no_place = HAK_NO_PLACE;
    memcpy(marks->step + 1, steps, sizeof steps);
}

void hak_marks_use(struct hak_marks *marks) {
    /* release: pairs with the acquire in hak_marks_now */
    atomic_store_explicit(&hak_marks, marks, memory_order_release);
}
