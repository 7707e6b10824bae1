// SPDX-License-Identifier: GPL-2.0
/*
 * Touches every page of a file's mapping, and again, and tells what it took.
 *
 *	touch FILE read|write|single ROUNDS
 *
 * "single" reads with huge pages refused. Each round maps the file anew, so
 * that its page tables are empty. It prints
 *
 *	scale TICKS			for a million instructions
 *	round MINOR MAJOR FIRST AGAIN FIRST_NS AGAIN_NS
 *
 * where FIRST and AGAIN are ticks of the time stamp counter. A machine that is
 * run with -icount advances it by one for each instruction, of the kernel too.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <x86intrin.h>

#define PAGE 4096

static unsigned int sink;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	if (clock_gettime(CLOCK_MONOTONIC, &now))
		die("clock_gettime");
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

static struct rusage used(void)
{
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage))
		die("getrusage");
	return usage;
}

/* What a million instructions are on this counter; the least, as the kernel's clock interrupts. */
static uint64_t scale(void)
{
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < 20; i++) {
		uint64_t before = __rdtsc();
		uint32_t left = 500000;

		__asm__ volatile("1: dec %0\n\tjnz 1b" : "+r"(left) : : "cc");
		uint64_t took = __rdtsc() - before;

		if (took < least)
			least = took;
	}
	return least;
}

static __attribute__((noinline)) uint64_t pass(volatile char *memory, size_t size, int write)
{
	uint64_t before = __rdtsc();

	if (write)
		for (size_t at = 0; at < size; at += PAGE)
			memory[at] = 7;
	else
		for (size_t at = 0; at < size; at += PAGE)
			sink += memory[at];
	return __rdtsc() - before;
}

int main(int argc, char **argv)
{
	static char own[4 * PAGE];
	struct stat stat;

	if (argc != 4)
		return 2;
	int write = !strcmp(argv[2], "write"), single = !strcmp(argv[2], "single");
	int fd = open(argv[1], write ? O_RDWR : O_RDONLY);

	if (fd < 0 || fstat(fd, &stat))
		die(argv[1]);
	/* Its own pages are there before anything is counted, and stay. */
	if (mlockall(MCL_CURRENT))
		die("mlockall");
	pass(own, sizeof(own), write);
	used();
	now_ns();
	printf("scale %lu\n", scale());
	for (int i = atoi(argv[3]); i > 0; i--) {
		char *memory = mmap(NULL, stat.st_size, PROT_READ | (write ? PROT_WRITE : 0),
				    MAP_SHARED, fd, 0);

		if (memory == MAP_FAILED)
			die("mmap");
		if (single && madvise(memory, stat.st_size, MADV_NOHUGEPAGE))
			die("madvise");
		struct rusage before = used();
		uint64_t begin = now_ns();
		uint64_t first = pass(memory, stat.st_size, write);
		uint64_t middle = now_ns();
		uint64_t again = pass(memory, stat.st_size, write);
		uint64_t end = now_ns();
		struct rusage after = used();

		printf("round %ld %ld %lu %lu %lu %lu\n", after.ru_minflt - before.ru_minflt,
		       after.ru_majflt - before.ru_majflt, first, again, middle - begin,
		       end - middle);
		if (munmap(memory, stat.st_size))
			die("munmap");
	}
	return 0;
}
