/*
 * Eight programs that say how fast a processor runs compiled code. Each is run once to warm up; its timed run is
 * announced on COM1 by "begin NAME" and ended by "end NAME CHECKSUM", so that whoever listens can take the time and see
 * that the engines computed the same.
 */
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#define PRIVATE static __attribute__((noinline))

PRIVATE u8 in8(u32 port)
{
    u8 value;
    __asm__ volatile("inb %w1, %b0" : "=a"(value) : "Nd"(port));
    return value;
}

PRIVATE void out8(u32 port, u8 value)
{
    __asm__ volatile("outb %b0, %w1" : : "a"(value), "Nd"(port));
}

PRIVATE void print(const char *text)
{
    for (; *text; text++) {
        while (!(in8(0x3fd) & 0x20))
            ;
        out8(0x3f8, *text);
    }
}

PRIVATE void print_hex(u32 value)
{
    char text[9];
    for (int i = 0; i < 8; i++)
        text[i] = "0123456789abcdef"[(value >> (28 - 4 * i)) & 15];
    text[8] = 0;
    print(text);
}

static u32 seed;

static u32 next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed;
}

/* Working memory of the kernels, one after the other. */
static u32 memory[1 << 18];

/* Sieve of Eratosthenes over bytes: stores in strides. */
PRIVATE u32 sieve(u32 rounds)
{
    enum { SIZE = 1 << 18 };
    u8 *composite = (u8 *)memory;
    u32 count = 0;
    while (rounds--) {
        for (u32 i = 0; i < SIZE; i++)
            composite[i] = 0;
        for (u32 i = 2; i * i < SIZE; i++)
            if (!composite[i])
                for (u32 k = i * i; k < SIZE; k += i)
                    composite[k] = 1;
        for (u32 i = 2; i < SIZE; i++)
            count += !composite[i];
    }
    return count;
}

/* CRC-32 by a table: dependent loads. */
PRIVATE u32 crc(u32 rounds)
{
    u32 *table = memory;
    u8 *data = (u8 *)(memory + 256);
    enum { SIZE = 1 << 16 };
    for (u32 i = 0; i < 256; i++) {
        u32 c = i;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? 0xedb88320 ^ (c >> 1) : c >> 1;
        table[i] = c;
    }
    for (u32 i = 0; i < SIZE; i++)
        data[i] = next_random();
    u32 c = ~0u;
    while (rounds--)
        for (u32 i = 0; i < SIZE; i++)
            c = table[(c ^ data[i]) & 255] ^ (c >> 8);
    return ~c;
}

static void sort(u32 *low, u32 *high)
{
    while (low < high) {
        u32 pivot = low[(high - low) >> 1];
        u32 *i = low, *k = high;
        while (i <= k) {
            while (*i < pivot)
                i++;
            while (*k > pivot)
                k--;
            if (i <= k) {
                u32 t = *i;
                *i++ = *k;
                *k-- = t;
            }
        }
        if (k - low < high - i) {
            sort(low, k);
            low = i;
        } else {
            sort(i, high);
            high = k;
        }
    }
}

/* Quicksort: compares, jumps that nobody can foretell, some calls. */
PRIVATE u32 qsort(u32 rounds)
{
    enum { SIZE = 1 << 14 };
    u32 sum = 0;
    while (rounds--) {
        for (u32 i = 0; i < SIZE; i++)
            memory[i] = next_random();
        sort(memory, memory + SIZE - 1);
        for (u32 i = 0; i < SIZE; i += 64)
            sum = sum * 31 + memory[i];
    }
    return sum;
}

/* A hash function over words: multiplications, rotations, shifts in registers. */
PRIVATE u32 hash(u32 rounds)
{
    u32 h = 17;
    while (rounds--)
        for (u32 i = 0; i < 4096; i++) {
            u32 k = i * 0xcc9e2d51;
            k = (k << 15) | (k >> 17);
            h ^= k * 0x1b873593;
            h = (h << 13) | (h >> 19);
            h = h * 5 + 0xe6546b64;
        }
    return h ^ (h >> 16);
}

__attribute__((noinline, optimize("no-optimize-sibling-calls", "O1"))) static u32 fibonacci(u32 n)
{
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

/* Recursion: calls, returns, the stack. */
PRIVATE u32 fib(u32 n)
{
    return fibonacci(n);
}

struct node {
    struct node *left, *right;
    u32 key;
};

/* A binary search tree: insertion and look-up, dependent loads and branches. */
PRIVATE u32 tree(u32 rounds)
{
    enum { NODES = 8192 };
    struct node *nodes = (struct node *)memory;
    u32 found = 0;
    while (rounds--) {
        struct node *root = 0;
        for (u32 n = 0; n < NODES; n++) {
            struct node **at = &root;
            u32 key = next_random();
            while (*at)
                at = key < (*at)->key ? &(*at)->left : &(*at)->right;
            nodes[n].left = nodes[n].right = 0;
            nodes[n].key = key;
            *at = &nodes[n];
        }
        for (u32 n = 0; n < NODES; n++) {
            u32 key = n & 1 ? nodes[n].key : next_random();
            struct node *at = root;
            while (at && at->key != key)
                at = key < at->key ? at->left : at->right;
            found += at != 0;
        }
    }
    return found;
}

/* Words of a text counted by a hash table: bytes, short loops. */
PRIVATE u32 words(u32 rounds)
{
    enum { SIZE = 1 << 15, BUCKETS = 1024 };
    char *text = (char *)memory;
    u32 *buckets = memory + SIZE / 4;
    for (u32 i = 0; i < SIZE; i++) {
        u32 r = next_random() >> 24;
        text[i] = r < 40 ? ' ' : 'a' + r % 26;
    }
    u32 sum = 0;
    for (u32 i = 0; i < BUCKETS; i++)
        buckets[i] = 0;
    while (rounds--) {
        for (u32 i = 0; i < SIZE;) {
            u32 h = 5381;
            while (i < SIZE && text[i] != ' ')
                h = h * 33 ^ (u8)text[i++];
            buckets[h % BUCKETS]++;
            while (i < SIZE && text[i] == ' ')
                i++;
        }
        for (u32 i = 0; i < BUCKETS; i++)
            sum = sum * 7 + buckets[i];
    }
    return sum;
}

/* Product of matrices of doubles: SSE2 in either mode. */
PRIVATE u32 matrix(u32 rounds)
{
    enum { N = 64 };
    double *a = (double *)memory, *b = a + N * N, *c = b + N * N;
    for (u32 i = 0; i < N * N; i++) {
        a[i] = (int)(next_random() >> 24);
        b[i] = (int)(next_random() >> 24);
    }
    while (rounds--)
        for (u32 i = 0; i < N; i++)
            for (u32 k = 0; k < N; k++) {
                double sum = 0;
                for (u32 j = 0; j < N; j++)
                    sum += a[i * N + j] * b[j * N + k];
                c[i * N + k] = sum;
            }
    u32 sum = 0;
    for (u32 i = 0; i < N * N; i++)
        sum = sum * 3 + (u32)(int)c[i];
    return sum;
}

#define KERNEL(name, warm, timed) { #name, name, warm, timed }

static const struct {
    const char *name;
    u32 (*run)(u32);
    u32 warm, timed;
} kernels[] = {
    KERNEL(sieve, 4, 60),
    KERNEL(crc, 40, 400),
    KERNEL(qsort, 4, 60),
    KERNEL(hash, 200, 3000),
    KERNEL(fib, 24, 31),
    KERNEL(tree, 4, 50),
    KERNEL(words, 20, 400),
    KERNEL(matrix, 5, 80),
};

void benchmark(void)
{
    for (u32 i = 0; i < sizeof kernels / sizeof kernels[0]; i++) {
        seed = 0x12345678;
        kernels[i].run(kernels[i].warm);
        seed = 0x12345678;
        print("begin ");
        print(kernels[i].name);
        print("\n");
        u32 sum = kernels[i].run(kernels[i].timed);
        print("end ");
        print(kernels[i].name);
        print(" ");
        print_hex(sum);
        print("\n");
    }
    print("done\n");
}
