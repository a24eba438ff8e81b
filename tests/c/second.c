/* liborlop.a, another static library of Rust and the system's libzstd in one program. */
#include "harness/check.h"

#include <errno.h>
#include <unistd.h>
#include <zstd.h>

int32_t second_panics(void);

int main(int argc, char **argv) {
    CHECK(argc == 2);
    folder = argv[1];
    driver_name = "vfs";
    /* That version of ours is another one, or the test would show nothing. */
    printf("the other zstd is %s\n", ZSTD_versionString());
    struct world world = open_world("store");
    for (int round = 0; round < 3; round++) {
        CHECK(second_panics() == 2 * (round + 1));
        FAILS(ORLOP_ERR_LAYER_UNKNOWN, orlop_layer(world.store, "nothing", NULL, &failure));
    }

    /* Compressed by the one, unpacked by the other, and back. */
    int tar = TAR({'0', "file", "content"});
    char plain[4096], packed[8192], again[4096];
    ssize_t length = read(tar, plain, sizeof plain);
    CHECK(length == 2048);
    size_t size = ZSTD_compress(packed, sizeof packed, plain, (size_t)length, 3);
    CHECK(!ZSTD_isError(size));
    CHECK(ftruncate(tar, 0) == 0 && pwrite(tar, packed, size, 0) == (ssize_t)size && lseek(tar, 0, SEEK_SET) == 0);
    orlop_buf record = {0};
    OK(orlop_import_layer(world.store, OPTIONS(orlop_new_layer, .id = "base"), tar, NULL, &record, &failure));
    HAS(record, "\"compression\":4");
    orlop_buf_free(&record);
    CHECK(ftruncate(tar, 0) == 0 && lseek(tar, 0, SEEK_SET) == 0);
    OK(orlop_export(world.store, "base", NULL, ORLOP_COMPRESSION_ZSTD, tar, NULL, NULL, &failure));
    length = pread(tar, packed, sizeof packed, 0);
    CHECK(length > 0);
    size = ZSTD_decompress(again, sizeof again, packed, (size_t)length);
    CHECK(size == 2048 && memcmp(again, plain, size) == 0);
    close(tar);
    close_world(&world);
    return 0;
}
