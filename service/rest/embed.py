#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a file's bytes as a C array: embed.py INPUT OUTPUT SYMBOL. JSON is checked and made compact."""
import json
import sys

source, target, symbol = sys.argv[1:]
with open(source, encoding='utf-8') as file:
    text = json.dumps(json.load(file), separators=(',', ':'), ensure_ascii=False)
data = text.encode()
with open(target, 'w', encoding='ascii') as out:
    out.write(f'#include "openapi_text.h"\n\nconst char {symbol}[] = {{\n')
    for start in range(0, len(data), 16):
        out.write('\t' + ' '.join(f'{byte if byte < 128 else byte - 256},' for byte in data[start:start + 16]) + '\n')
    out.write(f'\t0\n}};\nconst size_t {symbol}_size = sizeof({symbol}) - 1;\n')
