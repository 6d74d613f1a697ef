// SPDX-License-Identifier: GPL-2.0
/*
 * A plugin for QEMU's TCG: counts the instructions that the guest runs between
 * the marks of tests/bench/series.h, by address.
 *
 *     -plugin profile.so,out=FILE
 *
 * On exit it writes a line "ADDRESS TIMES" for each instruction of the guest's
 * kernel that ran; an address may have several lines. Needs -icount, with which string
 * instructions are counted by iteration, and one CPU.
 *
 * Debian 12 ships no qemu-plugin.h; what is used of version 1 of the interface
 * (QEMU 4.2 to 8.2) is declared here.
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

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id,
					   void (*cb)(uint64_t id, struct qemu_plugin_tb *tb));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb,
					  void (*cb)(unsigned int cpu, void *data),
					  enum qemu_plugin_cb_flags flags, void *data);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
					    void (*cb)(unsigned int cpu, void *data),
					    enum qemu_plugin_cb_flags flags, void *data);
void qemu_plugin_register_atexit_cb(uint64_t id, void (*cb)(uint64_t id, void *data), void *data);

EXPORT int qemu_plugin_version = 1;

/* A block of code; one that is translated again gets another. */
struct block {
	struct block *next;
	uint64_t times;
	size_t count;
	uint64_t addresses[];
};

static struct block *blocks;
static bool counting;
static const char *out;

static const uint8_t begin[] = { 0x0f, 0x1f, 0x84, 0x00, 0x01, 0x72, 0x73, 0x7a };
static const uint8_t end[] = { 0x0f, 0x1f, 0x84, 0x00, 0x02, 0x72, 0x73, 0x7a };

static void on_block(unsigned int cpu, void *data)
{
	struct block *block = data;

	(void)cpu;
	if (counting)
		block->times++;
}

static void on_mark(unsigned int cpu, void *data)
{
	(void)cpu;
	counting = data != NULL;
}

static bool is(const struct qemu_plugin_insn *insn, const uint8_t *mark)
{
	return qemu_plugin_insn_size(insn) == sizeof(begin) &&
	       !memcmp(qemu_plugin_insn_data(insn), mark, sizeof(begin));
}

static void on_translation(uint64_t id, struct qemu_plugin_tb *tb)
{
	size_t i, count = qemu_plugin_tb_n_insns(tb);
	struct block *block;

	(void)id;
	for (i = 0; i < count; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

		if (is(insn, begin))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_mark,
							       QEMU_PLUGIN_CB_NO_REGS, &counting);
		else if (is(insn, end))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_mark,
							       QEMU_PLUGIN_CB_NO_REGS, NULL);
	}
	/* Kernel addresses only. */
	if (!(qemu_plugin_tb_vaddr(tb) >> 63))
		return;
	block = calloc(1, sizeof(*block) + count * sizeof(block->addresses[0]));
	if (!block)
		abort();
	block->count = count;
	for (i = 0; i < count; i++)
		block->addresses[i] = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, i));
	block->next = blocks;
	blocks = block;
	qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_NO_REGS, block);
}

static void on_exit_of_qemu(uint64_t id, void *data)
{
	FILE *file = fopen(out, "w");
	struct block *block;
	size_t i;

	(void)id;
	(void)data;
	if (!file) {
		perror(out);
		return;
	}
	for (block = blocks; block; block = block->next)
		for (i = 0; block->times && i < block->count; i++)
			fprintf(file, "%" PRIx64 " %" PRIu64 "\n", block->addresses[i],
				block->times);
	fclose(file);
}

EXPORT int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv);
EXPORT int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv)
{
	int i;

	(void)info;
	for (i = 0; i < argc; i++)
		if (!strncmp(argv[i], "out=", 4))
			out = strdup(argv[i] + 4);
	if (!out) {
		fprintf(stderr, "profile.so: say where to write: out=FILE\n");
		return -1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
	qemu_plugin_register_atexit_cb(id, on_exit_of_qemu, NULL);
	return 0;
}
