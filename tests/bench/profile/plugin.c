// SPDX-License-Identifier: GPL-2.0
/*
 * A plugin for QEMU's TCG that looks at what the guest runs between the marks of
 * tests/bench/series.h: which instructions, which of them are atomic, and which
 * data is not in a cache.
 *
 *     -plugin profile.so,out=PREFIX
 *
 * At each "next" mark it writes PREFIX.1, PREFIX.2 ... with a line "ADDRESS
 * TIMES ATOMIC MISSES" for each instruction of the guest's kernel that ran; an
 * address may have several lines. ATOMIC is 1 for a locked instruction. MISSES
 * are accesses that a cache of 1 MiB (16 ways, lines of 64 bytes, least recently
 * used out first) would not have held; it sees all accesses from the first mark
 * on.
 *
 * Needs -icount, with which string instructions are counted by iteration, and
 * one CPU. Debian 12 ships no qemu-plugin.h; what is used of the interface is
 * declared here. PLUGIN_VERSION says which version of it: 1 (QEMU 4.2 to 8.2), 2
 * (9.0), or 3, with which later ones are content, too. Only 1 was ever run.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

struct qemu_plugin_tb;
struct qemu_plugin_insn;

enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
enum qemu_plugin_mem_rw { QEMU_PLUGIN_MEM_R = 1, QEMU_PLUGIN_MEM_W, QEMU_PLUGIN_MEM_RW };

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
#if PLUGIN_VERSION < 3
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
#else
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *insn, void *to, size_t size);
#endif
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id,
					   void (*cb)(uint64_t id, struct qemu_plugin_tb *tb));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb,
					  void (*cb)(unsigned int cpu, void *data),
					  enum qemu_plugin_cb_flags flags, void *data);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
					    void (*cb)(unsigned int cpu, void *data),
					    enum qemu_plugin_cb_flags flags, void *data);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn,
				      void (*cb)(unsigned int cpu, uint32_t info, uint64_t address,
						 void *data),
				      enum qemu_plugin_cb_flags flags, enum qemu_plugin_mem_rw rw,
				      void *data);

EXPORT int qemu_plugin_version = PLUGIN_VERSION;

struct instruction {
	uint64_t address;
	uint64_t misses;
	bool atomic;
};

/* A block of code; one that is translated again gets another. */
struct block {
	struct block *next;
	uint64_t times;
	size_t count;
	struct instruction instructions[];
};

static struct block *blocks;
static bool counting;
static bool caching;
static const char *prefix;
static unsigned int files;

/* Lines of each set, the one used last first. */
enum { LINE_SHIFT = 6, SETS = 1024, WAYS = 16 };
static uint64_t cache[SETS][WAYS];

static bool hit(uint64_t address)
{
	uint64_t line = address >> LINE_SHIFT;
	uint64_t *set = cache[line % SETS];
	unsigned int way;
	bool found;

	for (way = 0; way < WAYS - 1 && set[way] != line; way++)
		;
	found = set[way] == line;
	memmove(set + 1, set, way * sizeof(*set));
	set[0] = line;
	return found;
}

static void on_access(unsigned int cpu, uint32_t info, uint64_t address, void *data)
{
	struct instruction *instruction = data;

	(void)cpu;
	(void)info;
	if (caching && !hit(address) && counting && instruction)
		instruction->misses++;
}

static void on_block(unsigned int cpu, void *data)
{
	struct block *block = data;

	(void)cpu;
	if (counting)
		block->times++;
}

static void write_counts(void)
{
	struct block *block;
	char path[4096];
	FILE *file;
	size_t i;

	snprintf(path, sizeof(path), "%s.%u", prefix, ++files);
	file = fopen(path, "w");
	if (!file) {
		perror(path);
		exit(1);
	}
	for (block = blocks; block; block = block->next) {
		for (i = 0; block->times && i < block->count; i++) {
			struct instruction *instruction = &block->instructions[i];

			fprintf(file, "%" PRIx64 " %" PRIu64 " %d %" PRIu64 "\n",
				instruction->address, block->times, instruction->atomic,
				instruction->misses);
			instruction->misses = 0;
		}
		block->times = 0;
	}
	fclose(file);
}

enum mark { NONE, BEGIN, END, NEXT };

static void on_mark(unsigned int cpu, void *data)
{
	enum mark mark = (uintptr_t)data;

	(void)cpu;
	counting = mark == BEGIN;
	caching = true;
	if (mark == NEXT)
		write_counts();
}

/* An instruction's bytes. */
struct code {
	uint8_t bytes[16];
	size_t size;
};

static struct code code_of(const struct qemu_plugin_insn *insn)
{
	struct code code = { .size = qemu_plugin_insn_size(insn) };

	if (code.size > sizeof(code.bytes))
		code.size = sizeof(code.bytes);
#if PLUGIN_VERSION < 3
	memcpy(code.bytes, qemu_plugin_insn_data(insn), code.size);
#else
	qemu_plugin_insn_data(insn, code.bytes, code.size);
#endif
	return code;
}

/* A no-op with a number that no compiler puts there. */
static enum mark mark_of(const struct qemu_plugin_insn *insn)
{
	static const uint8_t head[] = { 0x0f, 0x1f, 0x84, 0x00 }, tail[] = { 0x72, 0x73, 0x7a };
	struct code code = code_of(insn);
	uint8_t mark = code.bytes[4];

	if (code.size != 8 || memcmp(code.bytes, head, 4) || memcmp(code.bytes + 5, tail, 3))
		return NONE;
	return mark >= BEGIN && mark <= NEXT ? mark : NONE;
}

/* Has a lock prefix, or is an exchange with memory, which needs none. */
static bool is_atomic(const struct qemu_plugin_insn *insn)
{
	struct code code = code_of(insn);
	size_t i;

	for (i = 0; i + 1 < code.size; i++) {
		switch (code.bytes[i]) {
		case 0xf0:
			return true;
		case 0x2e: case 0x36: case 0x3e: case 0x26: case 0x64: case 0x65: case 0x66:
		case 0xf2: case 0xf3:
		case 0x40 ... 0x4f:
			continue;
		case 0x86: case 0x87:
			return code.bytes[i + 1] >> 6 != 3;
		default:
			return false;
		}
	}
	return false;
}

static void on_translation(uint64_t id, struct qemu_plugin_tb *tb)
{
	bool kernel = qemu_plugin_tb_vaddr(tb) >> 63;
	size_t i, count = qemu_plugin_tb_n_insns(tb);
	struct block *block = NULL;

	(void)id;
	if (kernel) {
		block = calloc(1, sizeof(*block) + count * sizeof(block->instructions[0]));
		if (!block)
			abort();
		block->count = count;
		block->next = blocks;
		blocks = block;
		qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_NO_REGS, block);
	}
	for (i = 0; i < count; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		struct instruction *instruction = block ? &block->instructions[i] : NULL;
		enum mark mark = mark_of(insn);

		if (mark)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_mark,
							       QEMU_PLUGIN_CB_NO_REGS,
							       (void *)(uintptr_t)mark);
		qemu_plugin_register_vcpu_mem_cb(insn, on_access, QEMU_PLUGIN_CB_NO_REGS,
						 QEMU_PLUGIN_MEM_RW, instruction);
		if (instruction) {
			instruction->address = qemu_plugin_insn_vaddr(insn);
			instruction->atomic = is_atomic(insn);
		}
	}
}

EXPORT int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv);
EXPORT int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv)
{
	int i;

	(void)info;
	for (i = 0; i < argc; i++)
		if (!strncmp(argv[i], "out=", 4))
			prefix = strdup(argv[i] + 4);
	if (!prefix) {
		fprintf(stderr, "profile.so: say where to write: out=PREFIX\n");
		return -1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
	return 0;
}
