// SPDX-License-Identifier: GPL-2.0
/*
 * Throws ioctls at a mount: every number of ours and near it, with arguments
 * that are right, nearly right, and nonsense, and pointers that lie; from
 * several threads, while files are mapped, touched, linked, retired and closed,
 * directories go that somebody holds, and memory fails.
 *
 * usage: ioctl_fuzz MOUNTPOINT SEED SECONDS
 *
 * It prints how many calls were made and how many of them succeeded. What it
 * may not do is make the kernel complain, which the caller looks for; and no
 * map may be accepted that isn't inside the device.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

#include "famfs_ioctl.h"

#define THREADS 3
#define DIRECTORIES 8

/* Memory that failed stays so: only some of it does. */
#define MOST_POISONED 12
static atomic_int poisoned;

static const char *mnt;
static uint64_t device;
static time_t end;
static _Thread_local uint64_t state;
static _Thread_local sigjmp_buf back;

struct tally {
	unsigned long calls, good, faults;
};

static uint64_t rnd(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state * 0x2545f4914f6cdd1dULL;
}

static uint64_t below(uint64_t n)
{
	return rnd() % n;
}

/* Mostly a number that makes sense. */
static uint64_t number(void)
{
	static const uint64_t odd[] = {
		0, 1, 4095, 4096, FAMFS_UNIT - 1, FAMFS_UNIT + 1, ~0ULL,
		1ULL << 63, 1ULL << 32, 0x7fffffffffffffffULL,
		0 - FAMFS_UNIT,
	};

	switch (below(8)) {
	case 0:
		return odd[below(sizeof(odd) / sizeof(*odd))];
	case 1:
		return rnd();
	default:
		return below(device / FAMFS_UNIT + 2) * FAMFS_UNIT;
	}
}

static void *lying_pointer(void *right)
{
	switch (below(16)) {
	case 0:
		return NULL;
	case 1:
		return (void *)0xffff888000000000ULL;
	case 2:
		return (void *)rnd();
	case 3:
		return (char *)right + 1;
	default:
		return right;
	}
}

static uint64_t few(void)
{
	return below(16) ? below(4) : rnd();
}

static void fill_extents(struct famfs_extent *ext, int count)
{
	int i;

	for (i = 0; i < count; i++) {
		ext[i].devindex = below(12) ? 0 : rnd();
		ext[i].offset = number();
		ext[i].len = below(4) ? (1 + below(6)) * FAMFS_UNIT : number();
	}
}

static int create_v2(int fd)
{
	struct famfs_extent ext[FAMFS_MAX_EXTENTS];
	struct famfs_interleave inter;
	struct famfs_map_v2 map = { 0 };

	fill_extents(ext, FAMFS_MAX_EXTENTS);
	map.size = below(3) ? (1 + below(8)) * FAMFS_UNIT - below(5000) :
			      number();
	map.file_type = below(8) ? FAMFS_REG : rnd() % 5;
	map.ext_type = below(2) ? FAMFS_EXT_SIMPLE : rnd() % 4;
	map.count = map.ext_type == FAMFS_EXT_INTERLEAVED && below(4) ?
		    1 : few();
	inter.nstrips = few();
	inter.chunk_size = below(3) ? FAMFS_UNIT << below(3) : number();
	inter.nbytes = below(8) ? map.size : number();
	inter.strips = (uintptr_t)lying_pointer(ext);
	map.extents = (uintptr_t)lying_pointer(
		map.ext_type == FAMFS_EXT_INTERLEAVED ? (void *)&inter : ext);
	return ioctl(fd, FAMFSIOC_MAP_CREATE_V2, lying_pointer(&map));
}

static int create_v1(int fd)
{
	struct famfs_map_v1 map;
	int i;

	map.ext_type = below(8) ? 0 : rnd();
	map.file_type = below(8) ? 0 : rnd();
	map.size = below(3) ? (1 + below(8)) * FAMFS_UNIT : number();
	map.count = few();
	for (i = 0; i < FAMFS_V1_EXTENTS; i++) {
		map.ext[i].offset = number();
		map.ext[i].len = number();
	}
	return ioctl(fd, FAMFSIOC_MAP_CREATE, lying_pointer(&map));
}

static int retire(int dir, int fd)
{
	char name[300];
	struct famfs_retire ask;

	if (below(4))
		snprintf(name, sizeof(name), "f%d", (int)below(40));
	else
		snprintf(name, sizeof(name), "d%d", (int)below(DIRECTORIES));
	ask.slot = below(200);
	ask.successor = below(3) ? fd : (int)few();
	ask.name_len = below(8) ? strlen(name) : few();
	ask.name = (uintptr_t)lying_pointer(name);
	return ioctl(dir, FAMFSIOC_RETIRE, lying_pointer(&ask));
}

static int ask(int fd)
{
	static const unsigned long numbers[] = {
		FAMFSIOC_MAP_GET, FAMFSIOC_MAP_GETEXT, FAMFSIOC_NOP,
		FAMFSIOC_MAP_GET_V2, FAMFSIOC_MAP_EXTENTS, FAMFSIOC_BAD_RANGES,
		FAMFSIOC_MAP_CREATE, FAMFSIOC_MAP_CREATE_V2, FAMFSIOC_RETIRE,
	};
	static _Thread_local char room[4096];
	unsigned long n = numbers[below(sizeof(numbers) / sizeof(*numbers))];
	size_t i;

	for (i = 0; i < 64; i++)
		room[i] = rnd();
	if (n == FAMFSIOC_MAP_EXTENTS || n == FAMFSIOC_BAD_RANGES) {
		struct famfs_map_extents *e = (void *)room;

		e->capacity = few();
		if (n == FAMFSIOC_MAP_EXTENTS)
			e->extents = (uintptr_t)lying_pointer(room + 1024);
		else
			((struct famfs_bad_ranges *)room)->ranges =
				(uintptr_t)lying_pointer(room + 1024);
	}
	if (!below(16))
		n ^= 1UL << below(32);
	return ioctl(fd, n, lying_pointer(room));
}

static void on_signal(int signal)
{
	(void)signal;
	siglongjmp(back, 1);
}

/* A map that was accepted has all its memory inside the device. */
static void check_accepted(int fd)
{
	struct famfs_extent ext[FAMFS_MAX_EXTENTS];
	struct famfs_map_extents ask = {
		.capacity = FAMFS_MAX_EXTENTS, .extents = (uintptr_t)ext,
	};
	uint32_t i;

	if (ioctl(fd, FAMFSIOC_MAP_EXTENTS, &ask)) {
		perror("MAP_EXTENTS of a map that was accepted");
		exit(1);
	}
	for (i = 0; i < ask.count; i++)
		if (ext[i].offset > device || ext[i].len > device ||
		    ext[i].offset + ext[i].len > device) {
			fprintf(stderr, "accepted: %llu+%llu\n",
				(unsigned long long)ext[i].offset,
				(unsigned long long)ext[i].len);
			exit(1);
		}
}

static void touch(int fd, struct tally *tally)
{
	struct stat st;
	volatile char *map;
	off_t at;

	if (fstat(fd, &st) || st.st_size == 0)
		return;
	map = mmap(NULL, st.st_size + 4096, PROT_READ | PROT_WRITE, MAP_SHARED,
		   fd, 0);
	if (map == MAP_FAILED)
		return;
	if (sigsetjmp(back, 1)) {
		tally->faults++;
	} else {
		for (at = 0; at < st.st_size; at += 512 * 1024)
			map[at] = map[at] + 1;
		/* While others install maps, and find this one in the way. */
		if (!below(30) &&
		    atomic_fetch_add(&poisoned, 1) < MOST_POISONED) {
			at = below(st.st_size) & ~4095L;
			map[at] = 1;
			/* Done, it ends with a signal. */
			if (madvise((void *)&map[at], 4096, MADV_HWPOISON))
				atomic_fetch_sub(&poisoned, 1);
			map[at] = 2;
		}
		/* One page behind the end: a signal. */
		if (!below(4))
			map[(st.st_size + 4095) & ~4095L] = 1;
	}
	munmap((void *)map, st.st_size + 4096);
}

/* A directory comes, is held while it goes, and is used all the same. */
static void use_directory(struct tally *tally)
{
	char path[300], proc[64];
	int dir, fd;

	snprintf(path, sizeof(path), "%s/d%d", mnt, (int)below(DIRECTORIES));
	mkdir(path, 0755);
	dir = open(path, O_RDONLY | O_DIRECTORY);
	if (dir < 0)
		return;
	if (below(2)) {
		int root = open(mnt, O_RDONLY | O_DIRECTORY);

		tally->good += retire(root, -1) == 0;
		tally->calls++;
		close(root);
	}
	fd = openat(dir, ".", O_TMPFILE | O_RDWR, 0644);
	if (fd >= 0) {
		tally->good += create_v2(fd) == 0;
		tally->calls++;
		snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
		linkat(AT_FDCWD, proc, dir, below(2) ? "f1" : "f2",
		       AT_SYMLINK_FOLLOW);
		tally->good += retire(dir, fd) == 0;
		tally->calls++;
		close(fd);
	}
	mkdirat(dir, "below", 0755);
	unlinkat(dir, "below", AT_REMOVEDIR);
	close(dir);
}

static void *work(void *arg)
{
	struct tally *tally = arg;
	char name[300], proc[64];
	int dir = open(mnt, O_RDONLY | O_DIRECTORY);

	state = (uintptr_t)rnd ^ tally->calls;
	tally->calls = 0;
	while (time(NULL) < end) {
		/* One that may get no name makes no successor either. */
		int never = below(6) ? 0 : O_EXCL;
		int fd = open(mnt, O_TMPFILE | O_RDWR | never, 0644);
		int tries = 1 + below(24), accepted = 0, i;

		if (fd < 0) {
			perror("O_TMPFILE");
			exit(1);
		}
		for (i = 0; i < tries; i++, tally->calls++) {
			int which = below(8), ret;

			ret = which < 4 ? create_v2(fd) : which == 4 ?
			      create_v1(fd) : which == 5 ? retire(dir, fd) :
			      ask(below(4) ? fd : dir);
			tally->good += ret >= 0;
			if (ret == 0 && which < 5)
				accepted = 1;
		}
		if (accepted) {
			check_accepted(fd);
			touch(fd, tally);
		}
		snprintf(name, sizeof(name), "%s/f%d", mnt, (int)below(40));
		snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
		if (!linkat(AT_FDCWD, proc, AT_FDCWD, name,
			    AT_SYMLINK_FOLLOW) && never) {
			fprintf(stderr, "a file got a name that may not\n");
			exit(1);
		}
		close(fd);
		use_directory(tally);
		fd = open(name, O_RDWR);
		if (fd >= 0) {
			ask(fd);
			touch(fd, tally);
			close(fd);
		}
	}
	close(dir);
	return NULL;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_signal,
				    .sa_flags = SA_NODEFER };
	struct tally tallies[THREADS] = { 0 }, sum = { 0 };
	pthread_t threads[THREADS];
	struct statfs st;
	char path[300];
	int i;

	if (argc != 4 || statfs(argv[1], &st))
		return 2;
	mnt = argv[1];
	device = (uint64_t)st.f_blocks * st.f_bsize;
	end = time(NULL) + atoi(argv[3]);
	sigaction(SIGBUS, &action, NULL);
	snprintf(path, sizeof(path), "%s/.meta", mnt);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/.meta/versions", mnt);
	mkdir(path, 0755);
	for (i = 0; i < THREADS; i++) {
		tallies[i].calls = (strtoul(argv[2], NULL, 0) + 1) * (i + 1) *
				   0x9e3779b97f4a7c15UL;
		pthread_create(&threads[i], NULL, work, &tallies[i]);
	}
	for (i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		sum.calls += tallies[i].calls;
		sum.good += tallies[i].good;
		sum.faults += tallies[i].faults;
	}
	i = atomic_load(&poisoned);
	printf("%lu calls, %lu of them accepted, %lu signals, %d poisoned\n",
	       sum.calls, sum.good, sum.faults,
	       i < MOST_POISONED ? i : MOST_POISONED);
	return 0;
}
