/*
 * hash.h - a number for bytes.
 *
 * Runs in: ksmpool-config, ksmpoold (core: pure).
 *
 * For tables and indexes that compare the bytes themselves afterwards. It is
 * no digest: whoever knows the seed can make bytes collide, which costs time
 * and nothing else.
 */
#ifndef KSMPOOL_HASH_H
#define KSMPOOL_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(uint64_t seed, const void *bytes, size_t len);

#endif
