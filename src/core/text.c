#include "ksmpool/text.h"

#include <string.h>

bool
text_fit(const char *from, char *to, size_t size)
{
	size_t len = from == NULL ? 0 : strlen(from);

	if (len >= size)
		return false;
	memcpy(to, from == NULL ? "" : from, len + 1);
	return true;
}

const char *
plural(int64_t n, const char *one, const char *many)
{
	return n == 1 ? one : many;
}
