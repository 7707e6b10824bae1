// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/fs/famfs: the module's version, and for each mount, by its device's
 * name, what was counted.
 */
#include <linux/capability.h>
#include <linux/kobject.h>
#include <linux/sysfs.h>

#include "famfs_internal.h"

static struct kset *famfs_root;

struct famfs_attr {
	struct attribute attr;
	ssize_t (*show)(struct famfs_sb *sbi, char *page);
	ssize_t (*store)(struct famfs_sb *sbi, const char *page, size_t len);
};

#define FAMFS_ATTR(_name) \
	static struct famfs_attr _name##_attr = { \
		.attr = { .name = #_name, .mode = 0444 }, \
		.show = _name##_show, \
	}

/* A counter, summed over all CPUs. */
#define FAMFS_COUNTER(field) \
	static ssize_t field##_show(struct famfs_sb *sbi, char *page) \
	{ \
		u64 sum = 0; \
		int cpu; \
		\
		for_each_possible_cpu(cpu) \
			sum += READ_ONCE(per_cpu_ptr(sbi->stats, cpu)->field); \
		return sysfs_emit(page, "%llu\n", sum); \
	} \
	FAMFS_ATTR(field)

FAMFS_COUNTER(faults_4k);
FAMFS_COUNTER(faults_2m);
FAMFS_COUNTER(fallbacks);
FAMFS_COUNTER(failed);

static ssize_t size_show(struct famfs_sb *sbi, char *page)
{
	return sysfs_emit(page, "%llu\n", sbi->dev.size);
}
FAMFS_ATTR(size);

static ssize_t allocated_show(struct famfs_sb *sbi, char *page)
{
	return sysfs_emit(page, "%llu\n", READ_ONCE(sbi->allocated));
}
FAMFS_ATTR(allocated);

static ssize_t files_show(struct famfs_sb *sbi, char *page)
{
	return sysfs_emit(page, "%llu\n", READ_ONCE(sbi->files));
}
FAMFS_ATTR(files);

static ssize_t dead_show(struct famfs_sb *sbi, char *page)
{
	return sysfs_emit(page, "%d\n", READ_ONCE(sbi->dead));
}
FAMFS_ATTR(dead);

/* OFFSET+LENGTH, a line for each range, as many as a page holds. */
static ssize_t bad_pages_show(struct famfs_sb *sbi, char *page)
{
	struct famfs_range range = {};
	int at = 0;

	/* No line is cut: there is room for two numbers of 20 digits. */
	while (at < PAGE_SIZE - 43 && famfs_bad_next(&sbi->dev, &range))
		at += sysfs_emit_at(page, at, "%llu+%llu\n", range.offset,
				    range.len);
	return at;
}

/* "clear", when the memory was replaced or repaired. */
static ssize_t bad_pages_store(struct famfs_sb *sbi, const char *page,
			       size_t len)
{
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (!sysfs_streq(page, "clear"))
		return -EINVAL;
	famfs_bad_forget(sbi->dev.bad);
	return len;
}

static struct famfs_attr bad_pages_attr = {
	.attr = { .name = "bad_pages", .mode = 0644 },
	.show = bad_pages_show,
	.store = bad_pages_store,
};

static struct attribute *famfs_mount_attrs[] = {
	&faults_4k_attr.attr,
	&faults_2m_attr.attr,
	&fallbacks_attr.attr,
	&failed_attr.attr,
	&size_attr.attr,
	&allocated_attr.attr,
	&files_attr.attr,
	&dead_attr.attr,
	&bad_pages_attr.attr,
	NULL
};
ATTRIBUTE_GROUPS(famfs_mount);

static ssize_t famfs_mount_show(struct kobject *kobj, struct attribute *attr,
				char *page)
{
	struct famfs_attr *ours = container_of(attr, struct famfs_attr, attr);

	return ours->show(container_of(kobj, struct famfs_sb, kobj), page);
}

static ssize_t famfs_mount_store(struct kobject *kobj, struct attribute *attr,
				 const char *page, size_t len)
{
	struct famfs_attr *ours = container_of(attr, struct famfs_attr, attr);

	if (!ours->store)
		return -EIO;
	return ours->store(container_of(kobj, struct famfs_sb, kobj), page,
			   len);
}

static const struct sysfs_ops famfs_mount_sysfs_ops = {
	.show	= famfs_mount_show,
	.store	= famfs_mount_store,
};

static void famfs_mount_release(struct kobject *kobj)
{
	complete(&container_of(kobj, struct famfs_sb, kobj)->gone);
}

static const struct kobj_type famfs_mount_type = {
	.default_groups	= famfs_mount_groups,
	.sysfs_ops	= &famfs_mount_sysfs_ops,
	.release	= famfs_mount_release,
};

/* By another mount, or by what is told of the module itself. */
static bool is_taken(const char *name)
{
	struct kobject *other = kset_find_obj(famfs_root, name);

	kobject_put(other);
	return other || !strcmp(name, "version") ||
	       !strcmp(name, "kabi_version");
}

/**
 * famfs_sysfs_add - show a mount
 * @sbi: the mount
 *
 * Return: 0 or an error; famfs_sysfs_remove() is called in both cases.
 */
int famfs_sysfs_add(struct famfs_sb *sbi)
{
	char name[sizeof(sbi->dev.name) + 12];
	int n = 1;

	init_completion(&sbi->gone);
	snprintf(name, sizeof(name), "%s", sbi->dev.name);
	/* A mount whose device went away may still have its name. */
	while (is_taken(name))
		snprintf(name, sizeof(name), "%s-%d", sbi->dev.name, ++n);
	sbi->kobj.kset = famfs_root;
	return kobject_init_and_add(&sbi->kobj, FAMFS_KTYPE(&famfs_mount_type),
				    NULL, "%s", name);
}

/**
 * famfs_sysfs_remove - a mount goes: wait until nobody reads of it
 * @sbi: the mount
 */
void famfs_sysfs_remove(struct famfs_sb *sbi)
{
	if (!sbi->kobj.state_initialized)
		return;
	if (sbi->kobj.state_in_sysfs)
		kobject_del(&sbi->kobj);
	kobject_put(&sbi->kobj);
	wait_for_completion(&sbi->gone);
}

static ssize_t version_show(struct kobject *kobj, struct kobj_attribute *attr,
			    char *page)
{
	return sysfs_emit(page, "%s\n", FAMFS_VERSION);
}
static struct kobj_attribute version_attr = __ATTR_RO(version);

static ssize_t kabi_version_show(struct kobject *kobj,
				 struct kobj_attribute *attr, char *page)
{
	return sysfs_emit(page, "%d\n", FAMFS_KABI_VERSION);
}
static struct kobj_attribute kabi_version_attr = __ATTR_RO(kabi_version);

static const struct attribute *famfs_attrs[] = {
	&version_attr.attr,
	&kabi_version_attr.attr,
	NULL
};

int __init famfs_sysfs_init(void)
{
	int err;

	famfs_root = kset_create_and_add("famfs", NULL, fs_kobj);
	if (!famfs_root)
		return -ENOMEM;
	err = sysfs_create_files(&famfs_root->kobj, famfs_attrs);
	if (err)
		kset_unregister(famfs_root);
	return err;
}

void famfs_sysfs_exit(void)
{
	sysfs_remove_files(&famfs_root->kobj, famfs_attrs);
	kset_unregister(famfs_root);
}
