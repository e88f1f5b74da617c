/* Strings and numbers, for want of a C library. */
#include "shim.h"

void *memcpy(void *to, const void *from, u64 n)
{
	u8 *t = to;
	const u8 *f = from;
	while (n--)
		*t++ = *f++;
	return to;
}

void *memset(void *to, int c, u64 n)
{
	u8 *t = to;
	while (n--)
		*t++ = (u8)c;
	return to;
}

u64 length(const char *s)
{
	u64 n = 0;
	while (s[n])
		n++;
	return n;
}

int same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

u64 number(const char *s)
{
	u64 n = 0;
	while (*s >= '0' && *s <= '9')
		n = n * 10 + (u64)(*s++ - '0');
	return n;
}

/* append and append_number always leave the text terminated; what does not fit is cut. */
char *append(char *to, char *end, const char *s)
{
	while (*s && to < end - 1)
		*to++ = *s++;
	*to = 0;
	return to;
}

char *append_number(char *to, char *end, u64 n)
{
	char digits[24];
	int i = sizeof digits - 1;
	digits[i] = 0;
	do
		digits[--i] = (char)('0' + n % 10);
	while (n /= 10);
	return append(to, end, digits + i);
}

/* fail makes the exit record say why the task never ran. The first failure counts. The driver turns the number into words. */
void fail(const char *step, const char *what, i32 error)
{
	char *end = S.status.message + MESSAGE_MAX;
	char *p = S.status.message;
	if (S.status.cause)
		return;
	p = append(p, end, step);
	if (what) {
		u64 n = length(what), room = MESSAGE_MAX - 40;
		p = append(p, end, " ");
		p = append(p, end, n > room ? what + n - room : what);
	}
	p = append(p, end, ": errno ");
	append_number(p, end, (u64)error);
	S.status.cause = START_FAILED;
	S.status.code = 125;
}
