"""Requests in Chinese (simplified)."""

from typing import Final

from classifier.general.kinds import Kind

TEMPLATES: Final[dict[Kind, tuple[str, ...]]] = {
    Kind.SMALL_TALK: (
        "你好",
        "你好！",
        "您好",
        "嗨，最近怎么样？",
        "早上好",
        "晚上好！",
        "谢谢",
        "谢谢你的帮助！",
        "非常感谢",
        "好的，明白了",
        "好",
        "是的，请继续",
        "不用了，就这些",
        "再见，{day}见",
        "你是谁？",
        "你会做什么？",
        "给我讲一个关于{topic}的笑话",
        "我今天很{feeling}。",
        "对不起，是我的错",
    ),
    Kind.FACT: (
        "{place}的首都是哪里？",
        "谁发明了{topic}？",
        "{event}是什么时候开始的？",
        "{place}有多少人口？",
        "{place}说什么语言？",
        "“{thing}”这个词是什么意思？",
        "{person}是哪一年去世的？",
        "{place}在哪里？",
        "{place}用什么货币？",
    ),
    Kind.CHOICE: (
        "用什么来测量时间？A) {thing} B) 时钟 C) 绳子 D) 勺子",
        "判断对错：{place}是一座城市。",
        "哪种动物会飞？(A) 马 (B) 麻雀 (C) 鱼 (D) {thing}",
    ),
    Kind.REWRITE: (
        "改写这句话：{passage}",
        "改正错别字：{passage}",
        "把这段话写得更礼貌一些：{passage}",
        "翻译成英文：{passage}",
        "缩短这段文字：{passage}",
        "“{feeling}”的近义词是什么？",
        "这条评论是正面的还是负面的？{passage}",
    ),
    Kind.ONE_STEP: (
        "{a} + {b} 等于多少？",
        "{a} 乘以 {small} 是多少？",
        "{name}有{a}个{things}，又得到{b}个。现在一共有多少个？",
        "商店里有{a}个{things}，卖掉了{b}个。还剩多少个？",
    ),
    Kind.WRITE: (
        "给{name}写一封邮件，请求在{day}见面。",
        "写一个关于{topic}的短故事，发生在{place}。",
        "写一封礼貌的投诉信，说明收到的包裹损坏了。",
        "帮我计划一次去{place}的三天旅行。",
        "总结支持和反对{topic}的主要观点。",
        "给我一些学习{topic}的建议。",
    ),
    Kind.EXPLAIN: (
        "向小朋友解释{topic}的原理。",
        "为什么{topic}对{place}很重要？请举例说明。",
        "比较{topic}和{topic}的异同。",
        "描述{event}的原因和影响。",
    ),
    Kind.SEVERAL_STEPS: (
        "{name}买了{small}个{things}，每个{b}元，又买了一个{c}元的袋子，打{small}折。一共付多少钱？",
        "一列火车{small}小时行驶{a}公里，然后{small}小时行驶{b}公里。平均速度是多少？",
        "{name}每小时挣{b}元，每天工作{small}小时，每周花{c}元。{small}周能存多少钱？",
        "解方程 {small}x + {b} = {a}。",
        "一个水箱能装{a}升水，每小时漏{small}升，每晚加{c}升。{small}天后还有多少升？",
    ),
    Kind.CODE: (
        "写一个 Python 函数，返回列表中最大的{small}个数。",
        "怎么用 Python 读取 CSV 文件？",
        "写一条 SQL 查询，列出订单超过{small}个的客户。",
        "写一个函数，判断一个单词是不是回文。",
    ),
    Kind.ADVANCED: (
        "计算积分 $\\int_0^{small} x^2 e^{{-{c}x}} dx$。",
        "求函数 $f(x) = x^3 - {b}x^2 + {c}x$ 的极值以及它与 x 轴围成的面积。",
        "{small}个人围坐一张圆桌，{name}和{name}不能相邻，有多少种坐法？",
        "判断级数 $\\sum n^{small} / {c}^n$ 是否收敛，并求它的和。",
        "设计一个限流器，在{small}个数据中心处理每秒{a}个请求，讨论一致性和故障。",
        "求矩阵 [[{small}, 1], [1, {c}]] 的特征值和一组特征向量。",
    ),
    Kind.OLYMPIAD: (
        "证明：对任意整数 $n$，$n^{small} - n$ 能被 {small} 整除，或者给出反例。",
        "设 $a, b, c$ 为正实数，且 $a + b + c = {small}$。证明"
        " $\\sum \\frac{{a}}{{b^2 + {c}}} \\ge 1$。",
        "求所有函数 $f: \\mathbb{{R}} \\to \\mathbb{{R}}$，使得对任意实数 $x, y$ 有"
        " $f(x + f(y)) = f(x) + y^{small}$。",
        "证明存在无穷多个形如 $4k + 3$ 的素数。",
        "无限方格的每一格都染成{small}种颜色之一。证明存在一个四个顶点同色的矩形。",
        "求所有正整数对 $(m, n)$，使得 $m^2 + {b}n$ 和 $n^2 + {b}m$ 都是完全平方数，"
        "并证明你的结论。",
    ),
}

WORDS: Final[dict[str, tuple[str, ...]]] = {
    "day": ("星期一", "星期二", "星期五", "明天"),
    "name": ("小明", "小红", "李华", "王芳"),
    "thing": ("台灯", "自行车", "雨伞", "水壶", "椅子"),
    "things": ("苹果", "气球", "弹珠", "卡片", "硬币"),
    "place": ("秘鲁", "挪威", "日本", "里斯本", "波兰", "成都"),
    "person": ("居里夫人", "拿破仑", "莫扎特", "孔子"),
    "topic": ("光合作用", "通货膨胀", "围棋", "太阳能", "睡眠", "火山"),
    "event": ("冷战", "法国大革命", "淘金热"),
    "feeling": ("累", "开心", "紧张", "饿"),
    "passage": (
        "会议因为火车晚点改到了星期五举行了",
        "我写信是因为包裹还没有到。",
        "我们在{place}玩得很愉快，但是酒店太吵了。",
        "请在{day}之前把关于{topic}的报告发给我们。",
    ),
    "sentence": (
        "{day}讨论了关于{topic}的报告。",
        "{name}在{place}工作了{small}年。",
        "大约送来了{a}个{things}，其中{b}个迟到了。",
        "没有人问这有什么用。",
        "成本上升了百分之{b}，主要是因为{topic}。",
    ),
    "context_question": ("上文关于{topic}说了什么？", "用两句话总结上面的文字。"),
    "please": ("请问：", "能帮我一下吗？", "快速问一下：", "你好，"),
    "assistant": ("当然。这是我找到的关于{topic}的内容。", "不客气！还有别的吗？"),
    "system": ("你是一个有用的助手。请用中文简短回答。",),
    "tool_request": ("{day}{place}的天气怎么样？", "设一个{small}分钟的计时器。"),
}
