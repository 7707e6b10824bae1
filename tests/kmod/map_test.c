// SPDX-License-Identifier: GPL-2.0
/* The cases that a person would think of, one test each; prints their names. */
#include <assert.h>
#include <stdio.h>

#include "model.h"

#define U	FAMFS_UNIT
#define DEVICE	(64 * U)

static int judge(struct famfs_map map)
{
	int err = famfs_map_check(&map, DEVICE);

	assert(!err == model_is_valid(&map, DEVICE));
	return err;
}

static void a_simple_file(void)
{
	struct famfs_map map = {
		.size = 3 * U - 1, .count = 2,
		.ext = { { 8 * U, 2 * U }, { 4 * U, U } },
	};
	struct famfs_run run;

	assert(judge(map) == 0);
	assert(famfs_map_allocated(&map) == 3 * U);
	assert(famfs_map_resolve(&map, 2 * U - 1, &run));
	assert(run.offset == 10 * U - 1 && run.len == 1);
	assert(famfs_map_resolve(&map, 2 * U + 5, &run));
	assert(run.offset == 4 * U + 5 && run.len == U - 5);
	assert(!famfs_map_resolve(&map, 3 * U, &run));
}

static void an_interleaved_file(void)
{
	struct famfs_map map = {
		.size = 5 * U, .chunk_size = U, .count = 3,
		.ext = { { 8 * U, 2 * U }, { 16 * U, 2 * U }, { 24 * U, U } },
	};
	struct famfs_run run;

	assert(judge(map) == 0);
	assert(famfs_map_resolve(&map, 4 * U + 7, &run));
	assert(run.offset == 17 * U + 7 && run.len == U - 7);
	/* The third strip has no room for a second chunk. */
	map.size = 5 * U + 1;
	assert(judge(map) == -EINVAL);
}

static void a_range_in_two_parts_of_a_file(void)
{
	struct famfs_map map = {
		.size = 4 * U, .chunk_size = U, .count = 2,
		.ext = { { 8 * U, 2 * U }, { 10 * U, 2 * U } },
	};
	struct famfs_range range = { 9 * U - 10, 20 };
	__u64 pos, len;

	assert(judge(map) == 0);
	assert(famfs_map_locate(&map, &range, &pos, &len));
	assert(pos == U - 10 && len == 10);
	assert(famfs_map_locate(&map, &range, &pos, &len));
	assert(pos == 2 * U && len == 10);
	assert(!famfs_map_locate(&map, &range, &pos, &len));
}

static void places_of_the_superblock_and_the_log(void)
{
	struct famfs_map super = {
		.size = U, .count = 1, .file_type = FAMFS_SUPERBLOCK,
		.ext = { { 0, U } },
	};
	struct famfs_map log = {
		.size = 4 * U, .count = 1, .file_type = FAMFS_LOG,
		.ext = { { U, 4 * U } },
	};

	assert(judge(super) == 0 && judge(log) == 0);
	super.file_type = FAMFS_REG;
	log.file_type = FAMFS_REG;
	assert(judge(super) == -EINVAL && judge(log) == -EINVAL);
}

static void an_empty_file(void)
{
	struct famfs_map map = { 0 };
	struct famfs_run run;

	assert(judge(map) == 0);
	assert(!famfs_map_resolve(&map, 0, &run));
	map.size = 1;
	assert(judge(map) == -EINVAL);
}

static void numbers_that_overflow(void)
{
	struct famfs_map map = { .size = U, .count = 1 };

	map.ext[0].offset = 0 - U;
	map.ext[0].len = 2 * U;
	assert(judge(map) == -ERANGE);
	map.ext[0].offset = 4 * U;
	map.ext[0].len = 0 - 4 * U;
	assert(judge(map) == -ERANGE);
	map.ext[0].len = U;
	map.size = ~0ULL;
	assert(judge(map) == -EINVAL);
	map.count = ~0U;
	assert(judge(map) == -E2BIG);
}

int main(void)
{
	static const struct { const char *name; void (*run)(void); } tests[] = {
#define TEST(name) { #name, name }
		TEST(a_simple_file),
		TEST(an_interleaved_file),
		TEST(a_range_in_two_parts_of_a_file),
		TEST(places_of_the_superblock_and_the_log),
		TEST(an_empty_file),
		TEST(numbers_that_overflow),
	};
	unsigned int i;

	for (i = 0; i < sizeof(tests) / sizeof(*tests); i++) {
		tests[i].run();
		printf("%s\n", tests[i].name);
	}
	return 0;
}
