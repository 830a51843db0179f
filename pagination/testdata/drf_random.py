"""Writes drf_random.json: random requests and what Django REST Framework answers.

Debian's python3-djangorestframework (3.14) is enough:
    /usr/bin/python3 drf_random.py 600 > drf_random.json
"""

import json
import random
import sys

import django
from django.conf import settings

settings.configure(ALLOWED_HOSTS=["*"], USE_TZ=True, USE_I18N=False)
django.setup()

from rest_framework import exceptions, pagination  # noqa: E402
from rest_framework.request import Request  # noqa: E402
from rest_framework.test import APIRequestFactory  # noqa: E402


class Numbers(pagination.PageNumberPagination):
    page_size, max_page_size, page_size_query_param = 5, 20, "page_size"

    def get_page_number(self, request, paginator):
        # Since 3.15 an empty page parameter is the first page.
        number = request.query_params.get(self.page_query_param) or 1
        return paginator.num_pages if number in self.last_page_strings else number


class FixedNumbers(Numbers):
    page_size_query_param = None


class Offsets(pagination.LimitOffsetPagination):
    default_limit, max_limit = 10, 15


class OptionalOffsets(Offsets):
    default_limit = None


KINDS = {
    "page_number(size 5, max 20, 100 items)": (Numbers, range(1, 101)),
    "page_number empty set": (Numbers, []),
    "page_number 6 items, size 5": (Numbers, range(6)),
    "page_number 5 items, size 5": (Numbers, range(5)),
    "page_number without page_size_query_param": (FixedNumbers, range(1, 101)),
    "limit_offset(default 10, max 15, 100 items)": (Offsets, range(1, 101)),
    "limit_offset empty set": (Offsets, []),
    "limit_offset default None": (OptionalOffsets, range(1, 101)),
}

NUMBERS = """ 0 1 2 3 5 7 10 15 16 19 20 21 25 50 99 100 101 1000 -1 -5 +2 %2B2 %202 2%20 02 007 2.0 1e1 abc
last LAST last%20 0x1 %00 2%00 99999999999999999999 9223372036854775807 9223372036854775808 %E2%80%832 %0A3 %C2%A03
%0B4 %1C5 3%0D%0A --1 + - -0 +0 000 %zz 1.0 1e0 +-2 ++2 0b1 0o7 nan Infinity %2D1 %32 %312 -00 %C2%852 %E3%80%805
%EF%BB%BF2 %E2%80%8B2 2%0C 0000000000000000000000000000007""".split(" ")
NUMBERS = [part for number in NUMBERS for part in number.split("\n")]
OTHERS = """a=1 b=2 tag=x tag=y q=a+b q=caf%C3%A9 q=%zz flag a;b=1 A=2 a[b]=1 x=* x=~.-_ filter= =v = & q=%E9 q=%ff%fe
q=a%26b q=a=b %71=1 q=%2B q="><script> q=%00 x=% x=%1 page= pAge=3 q=a%20b q=a/b?c q=(a)!' q=$,:@ q=%F0%9F%98%80
x%5B%5D=1 q=a%3Bb q=\\ q=|^`{}""".split()
PATHS = ["/"] * 8 + ["/products/", "/caf%C3%A9/", "/a+b/", "/a:b@c/", "/it's/", "/(x)/"]


def answer(kind, url):
    paginator, items = KINDS[kind]
    paginator = paginator()
    pair = {"kind": kind, "url": url}
    try:
        page = paginator.paginate_queryset(list(items), Request(APIRequestFactory().generic("GET", url)))
    except exceptions.APIException as refusal:
        return pair | {"status": refusal.status_code, "detail": str(refusal.detail)}
    if page is None:
        return None  # not paginated: nothing to compare
    links = paginator.get_html_context()["page_links"]
    return pair | {
        "status": 200,
        "body": paginator.get_paginated_response(page).data,
        "pages": [None if link.is_break else link.number for link in links],
    }


def url(rnd, kind):
    parameters = []
    for name in ("page", "page_size") if kind.startswith("page") else ("limit", "offset"):
        for _ in range(rnd.choice([0, 1, 1, 1, 2])):
            value = rnd.choice(NUMBERS) if rnd.random() < 0.6 else str(rnd.randint(0, 30))
            parameters.append(name + "=" + value)
    parameters += rnd.choices(OTHERS, k=rnd.choice([0, 0, 1, 1, 2, 3]))
    rnd.shuffle(parameters)
    return rnd.choice(PATHS) + ("?" + "&".join(parameters) if parameters else "")


def main():
    rnd = random.Random(1)
    pairs = {}
    while len(pairs) < int(sys.argv[1]):
        kind = rnd.choice(list(KINDS))
        request = url(rnd, kind)
        if pair := answer(kind, request):
            pairs[kind, request] = pair
    print("[" + ",\n".join(json.dumps(pair, ensure_ascii=False) for pair in pairs.values()) + "]")


main()
