"""Core ML's models as messages: every field of `coremltools/mlmodel/format/*.proto` (version 9), by number.

    SCHEMA["Model"][500]        # ("NeuralNetwork", False)

A test compares it with the descriptions in the installed coremltools.
"""

from __future__ import annotations

from nbguard.formats.protobuf_walk import schema

SCHEMA = schema("""
Model 1:v 2:ModelDescription 10:v 200:PipelineClassifier 201:PipelineRegressor 202:Pipeline 300:GLMRegressor
301:SupportVectorRegressor 302:TreeEnsembleRegressor 303:NeuralNetworkRegressor 304:BayesianProbitRegressor
400:GLMClassifier 401:SupportVectorClassifier 402:TreeEnsembleClassifier 403:NeuralNetworkClassifier
404:KNearestNeighborsClassifier 500:NeuralNetwork 501:ItemSimilarityRecommender 502:MILSpec.Program 555:CustomModel
556:LinkedModel 560:ClassConfidenceThresholding 600:OneHotEncoder 601:Imputer 602:FeatureVectorizer
603:DictVectorizer 604:Scaler 606:CategoricalMapping 607:Normalizer 609:ArrayFeatureExtractor
610:NonMaximumSuppression 900:Identity 2000:CoreMLModels.TextClassifier 2001:CoreMLModels.WordTagger
2002:CoreMLModels.VisionFeaturePrint 2003:CoreMLModels.SoundAnalysisPreprocessing 2004:CoreMLModels.Gazetteer
2005:CoreMLModels.WordEmbedding 2006:CoreMLModels.AudioFeaturePrint 3000:SerializedModel; ModelDescription
20:FunctionDescription* 21:b 100:Metadata 1:FeatureDescription* 10:FeatureDescription* 13:FeatureDescription* 11:b
12:b 50:FeatureDescription*; FunctionDescription 1:b 2:FeatureDescription* 3:FeatureDescription*
6:FeatureDescription* 4:b 5:b; FeatureDescription 1:b 2:b 3:FeatureType; FeatureType 1:Int64FeatureType
2:DoubleFeatureType 3:StringFeatureType 4:ImageFeatureType 5:ArrayFeatureType 6:DictionaryFeatureType
7:SequenceFeatureType 8:StateFeatureType 1000:v; Int64FeatureType; DoubleFeatureType; StringFeatureType;
ImageFeatureType 1:v 2:v 21:ImageFeatureType.EnumeratedImageSizes 31:ImageFeatureType.ImageSizeRange 3:v;
ImageFeatureType.EnumeratedImageSizes 1:ImageFeatureType.ImageSize*; ImageFeatureType.ImageSize 1:v 2:v;
ImageFeatureType.ImageSizeRange 1:SizeRange 2:SizeRange; SizeRange 1:v 2:v; ArrayFeatureType 1:v* 2:v
21:ArrayFeatureType.EnumeratedShapes 31:ArrayFeatureType.ShapeRange 41:v 51:f 61:d;
ArrayFeatureType.EnumeratedShapes 1:ArrayFeatureType.Shape*; ArrayFeatureType.Shape 1:v*;
ArrayFeatureType.ShapeRange 1:SizeRange*; DictionaryFeatureType 1:Int64FeatureType 2:StringFeatureType;
SequenceFeatureType 1:Int64FeatureType 3:StringFeatureType 101:SizeRange; StateFeatureType 1:ArrayFeatureType;
Metadata 1:b 2:b 3:b 4:b 100:Metadata.UserDefinedEntry*; Metadata.UserDefinedEntry 1:b 2:b; PipelineClassifier
1:Pipeline; Pipeline 1:Model* 2:b*; PipelineRegressor 1:Pipeline; GLMRegressor 1:GLMRegressor.DoubleArray* 2:d* 3:v;
GLMRegressor.DoubleArray 1:d*; SupportVectorRegressor 1:Kernel 2:SparseSupportVectors 3:DenseSupportVectors
4:Coefficients 5:d; Kernel 1:LinearKernel 2:RBFKernel 3:PolyKernel 4:SigmoidKernel; LinearKernel; RBFKernel 1:d;
PolyKernel 1:v 2:d 3:d; SigmoidKernel 1:d 2:d; SparseSupportVectors 1:SparseVector*; SparseVector 1:SparseNode*;
SparseNode 1:v 2:d; DenseSupportVectors 1:DenseVector*; DenseVector 1:d*; Coefficients 1:d*; TreeEnsembleRegressor
1:TreeEnsembleParameters 2:v; TreeEnsembleParameters 1:TreeEnsembleParameters.TreeNode* 2:v 3:d*;
TreeEnsembleParameters.TreeNode 1:v 2:v 3:v 10:v 11:d 12:v 13:v 14:v
20:TreeEnsembleParameters.TreeNode.EvaluationInfo* 30:d; TreeEnsembleParameters.TreeNode.EvaluationInfo 1:v 2:d;
NeuralNetworkRegressor 1:NeuralNetworkLayer* 2:NeuralNetworkPreprocessing* 5:v 6:v 10:NetworkUpdateParameters;
NeuralNetworkLayer 1:b 2:b* 3:b* 4:Tensor* 5:Tensor* 10:v 100:ConvolutionLayerParams 120:PoolingLayerParams
130:ActivationParams 140:InnerProductLayerParams 150:EmbeddingLayerParams 160:BatchnormLayerParams
165:MeanVarianceNormalizeLayerParams 170:L2NormalizeLayerParams 175:SoftmaxLayerParams 180:LRNLayerParams
190:CropLayerParams 200:PaddingLayerParams 210:UpsampleLayerParams 211:ResizeBilinearLayerParams
212:CropResizeLayerParams 220:UnaryFunctionLayerParams 230:AddLayerParams 231:MultiplyLayerParams
240:AverageLayerParams 245:ScaleLayerParams 250:BiasLayerParams 260:MaxLayerParams 261:MinLayerParams
270:DotProductLayerParams 280:ReduceLayerParams 290:LoadConstantLayerParams 300:ReshapeLayerParams
301:FlattenLayerParams 310:PermuteLayerParams 320:ConcatLayerParams 330:SplitLayerParams
340:SequenceRepeatLayerParams 345:ReorganizeDataLayerParams 350:SliceLayerParams 400:SimpleRecurrentLayerParams
410:GRULayerParams 420:UniDirectionalLSTMLayerParams 430:BiDirectionalLSTMLayerParams 500:CustomLayerParams
600:CopyLayerParams 605:BranchLayerParams 615:LoopLayerParams 620:LoopBreakLayerParams 625:LoopContinueLayerParams
635:RangeStaticLayerParams 640:RangeDynamicLayerParams 660:ClipLayerParams 665:CeilLayerParams 670:FloorLayerParams
680:SignLayerParams 685:RoundLayerParams 700:Exp2LayerParams 710:SinLayerParams 715:CosLayerParams
720:TanLayerParams 730:AsinLayerParams 735:AcosLayerParams 740:AtanLayerParams 750:SinhLayerParams
755:CoshLayerParams 760:TanhLayerParams 770:AsinhLayerParams 775:AcoshLayerParams 780:AtanhLayerParams
790:ErfLayerParams 795:GeluLayerParams 815:EqualLayerParams 820:NotEqualLayerParams 825:LessThanLayerParams
827:LessEqualLayerParams 830:GreaterThanLayerParams 832:GreaterEqualLayerParams 840:LogicalOrLayerParams
845:LogicalXorLayerParams 850:LogicalNotLayerParams 855:LogicalAndLayerParams 865:ModBroadcastableLayerParams
870:MinBroadcastableLayerParams 875:MaxBroadcastableLayerParams 880:AddBroadcastableLayerParams
885:PowBroadcastableLayerParams 890:DivideBroadcastableLayerParams 895:FloorDivBroadcastableLayerParams
900:MultiplyBroadcastableLayerParams 905:SubtractBroadcastableLayerParams 920:TileLayerParams 925:StackLayerParams
930:GatherLayerParams 935:ScatterLayerParams 940:GatherNDLayerParams 945:ScatterNDLayerParams
950:SoftmaxNDLayerParams 952:GatherAlongAxisLayerParams 954:ScatterAlongAxisLayerParams 960:ReverseLayerParams
965:ReverseSeqLayerParams 975:SplitNDLayerParams 980:ConcatNDLayerParams 985:TransposeLayerParams
995:SliceStaticLayerParams 1000:SliceDynamicLayerParams 1005:SlidingWindowsLayerParams 1015:TopKLayerParams
1020:ArgMinLayerParams 1025:ArgMaxLayerParams 1040:EmbeddingNDLayerParams 1045:BatchedMatMulLayerParams
1065:GetShapeLayerParams 1070:LoadConstantNDLayerParams 1080:FillLikeLayerParams 1085:FillStaticLayerParams
1090:FillDynamicLayerParams 1100:BroadcastToLikeLayerParams 1105:BroadcastToStaticLayerParams
1110:BroadcastToDynamicLayerParams 1120:SqueezeLayerParams 1125:ExpandDimsLayerParams 1130:FlattenTo2DLayerParams
1135:ReshapeLikeLayerParams 1140:ReshapeStaticLayerParams 1145:ReshapeDynamicLayerParams
1150:RankPreservingReshapeLayerParams 1155:ConstantPaddingLayerParams 1170:RandomNormalLikeLayerParams
1175:RandomNormalStaticLayerParams 1180:RandomNormalDynamicLayerParams 1190:RandomUniformLikeLayerParams
1195:RandomUniformStaticLayerParams 1200:RandomUniformDynamicLayerParams 1210:RandomBernoulliLikeLayerParams
1215:RandomBernoulliStaticLayerParams 1220:RandomBernoulliDynamicLayerParams 1230:CategoricalDistributionLayerParams
1250:ReduceL1LayerParams 1255:ReduceL2LayerParams 1260:ReduceMaxLayerParams 1265:ReduceMinLayerParams
1270:ReduceSumLayerParams 1275:ReduceProdLayerParams 1280:ReduceMeanLayerParams 1285:ReduceLogSumLayerParams
1290:ReduceSumSquareLayerParams 1295:ReduceLogSumExpLayerParams 1313:WhereNonZeroLayerParams
1315:MatrixBandPartLayerParams 1320:LowerTriangularLayerParams 1325:UpperTriangularLayerParams
1330:WhereBroadcastableLayerParams 1350:LayerNormalizationLayerParams 1400:NonMaximumSuppressionLayerParams
1450:OneHotLayerParams 1455:CumSumLayerParams 1460:ClampedReLULayerParams 1461:ArgSortLayerParams
1465:Pooling3DLayerParams 1466:GlobalPooling3DLayerParams 1470:SliceBySizeLayerParams 1471:Convolution3DLayerParams;
Tensor 1:v 2:v*; ConvolutionLayerParams 1:v 2:v 10:v 20:v* 30:v* 40:v* 50:ValidPadding 51:SamePadding 60:v 70:v
90:WeightParams 91:WeightParams 100:v*; ValidPadding 1:BorderAmounts; BorderAmounts 10:BorderAmounts.EdgeSizes*;
BorderAmounts.EdgeSizes 1:v 2:v; SamePadding 1:v; WeightParams 1:f* 2:b 30:b 31:b 40:QuantizationParams 50:v;
QuantizationParams 1:v 101:LinearQuantizationParams 102:LookUpTableQuantizationParams; LinearQuantizationParams 1:f*
2:f*; LookUpTableQuantizationParams 1:f*; PoolingLayerParams 1:v 10:v* 20:v* 30:ValidPadding 31:SamePadding
32:PoolingLayerParams.ValidCompletePadding 50:v 60:v; PoolingLayerParams.ValidCompletePadding 10:v*;
ActivationParams 5:ActivationLinear 10:ActivationReLU 15:ActivationLeakyReLU 20:ActivationThresholdedReLU
25:ActivationPReLU 30:ActivationTanh 31:ActivationScaledTanh 40:ActivationSigmoid 41:ActivationSigmoidHard
50:ActivationELU 60:ActivationSoftsign 70:ActivationSoftplus 71:ActivationParametricSoftplus; ActivationLinear 1:f
2:f; ActivationReLU; ActivationLeakyReLU 1:f; ActivationThresholdedReLU 1:f; ActivationPReLU 1:WeightParams;
ActivationTanh; ActivationScaledTanh 1:f 2:f; ActivationSigmoid; ActivationSigmoidHard 1:f 2:f; ActivationELU 1:f;
ActivationSoftsign; ActivationSoftplus; ActivationParametricSoftplus 1:WeightParams 2:WeightParams;
InnerProductLayerParams 1:v 2:v 10:v 20:WeightParams 21:WeightParams 22:v; EmbeddingLayerParams 1:v 2:v 10:v
20:WeightParams 21:WeightParams; BatchnormLayerParams 1:v 5:v 6:v 10:f 15:WeightParams 16:WeightParams
17:WeightParams 18:WeightParams; MeanVarianceNormalizeLayerParams 1:v 2:v 3:f; L2NormalizeLayerParams 1:f;
SoftmaxLayerParams; LRNLayerParams 1:f 2:f 3:v 4:f; CropLayerParams 1:BorderAmounts 5:v*; PaddingLayerParams
1:PaddingLayerParams.PaddingConstant 2:PaddingLayerParams.PaddingReflection 3:PaddingLayerParams.PaddingReplication
10:BorderAmounts; PaddingLayerParams.PaddingConstant 1:f; PaddingLayerParams.PaddingReflection;
PaddingLayerParams.PaddingReplication; UpsampleLayerParams 1:v* 7:f* 5:v 6:v; ResizeBilinearLayerParams 1:v*
2:SamplingMode; SamplingMode 1:v; CropResizeLayerParams 1:v* 2:v 3:SamplingMode 4:BoxCoordinatesMode 5:f;
BoxCoordinatesMode 1:v; UnaryFunctionLayerParams 1:v 2:f 3:f 4:f 5:f; AddLayerParams 1:f; MultiplyLayerParams 1:f;
AverageLayerParams; ScaleLayerParams 1:v* 2:WeightParams 3:v 4:v* 5:WeightParams; BiasLayerParams 1:v*
2:WeightParams; MaxLayerParams; MinLayerParams; DotProductLayerParams 1:v; ReduceLayerParams 1:v 2:f 3:v;
LoadConstantLayerParams 1:v* 2:WeightParams; ReshapeLayerParams 1:v* 2:v; FlattenLayerParams 1:v; PermuteLayerParams
1:v*; ConcatLayerParams 100:v; SplitLayerParams 1:v; SequenceRepeatLayerParams 1:v; ReorganizeDataLayerParams 1:v
2:v; SliceLayerParams 1:v 2:v 3:v 4:v; SimpleRecurrentLayerParams 1:v 2:v 10:ActivationParams 15:v 20:v
30:WeightParams 31:WeightParams 32:WeightParams 100:v; GRULayerParams 1:v 2:v 10:ActivationParams* 15:v 20:v
30:WeightParams 31:WeightParams 32:WeightParams 50:WeightParams 51:WeightParams 52:WeightParams 70:WeightParams
71:WeightParams 72:WeightParams 100:v; UniDirectionalLSTMLayerParams 1:v 2:v 10:ActivationParams* 15:LSTMParams
20:LSTMWeightParams 100:v; LSTMParams 10:v 20:v 30:v 40:v 50:v 60:f; LSTMWeightParams 1:WeightParams 2:WeightParams
3:WeightParams 4:WeightParams 20:WeightParams 21:WeightParams 22:WeightParams 23:WeightParams 40:WeightParams
41:WeightParams 42:WeightParams 43:WeightParams 60:WeightParams 61:WeightParams 62:WeightParams;
BiDirectionalLSTMLayerParams 1:v 2:v 10:ActivationParams* 11:ActivationParams* 15:LSTMParams 20:LSTMWeightParams*;
CustomLayerParams 10:b 20:WeightParams* 30:CustomLayerParams.ParametersEntry* 40:b;
CustomLayerParams.ParametersEntry 1:b 2:CustomLayerParams.CustomLayerParamValue;
CustomLayerParams.CustomLayerParamValue 10:d 20:b 30:v 40:v 50:v; CopyLayerParams; BranchLayerParams 1:NeuralNetwork
2:NeuralNetwork; NeuralNetwork 1:NeuralNetworkLayer* 2:NeuralNetworkPreprocessing* 5:v 6:v
10:NetworkUpdateParameters; NeuralNetworkPreprocessing 1:b 10:NeuralNetworkImageScaler 11:NeuralNetworkMeanImage;
NeuralNetworkImageScaler 10:f 20:f 21:f 22:f 30:f; NeuralNetworkMeanImage 1:f*; NetworkUpdateParameters 1:LossLayer*
2:Optimizer 3:Int64Parameter 10:BoolParameter 20:Int64Parameter; LossLayer 1:b 10:CategoricalCrossEntropyLossLayer
11:MeanSquaredErrorLossLayer; CategoricalCrossEntropyLossLayer 1:b 2:b; MeanSquaredErrorLossLayer 1:b 2:b; Optimizer
10:SGDOptimizer 11:AdamOptimizer; SGDOptimizer 1:DoubleParameter 2:Int64Parameter 3:DoubleParameter; DoubleParameter
1:d 10:DoubleRange; DoubleRange 1:d 2:d; Int64Parameter 1:v 10:Int64Range 11:Int64Set; Int64Range 1:v 2:v; Int64Set
1:v*; AdamOptimizer 1:DoubleParameter 2:Int64Parameter 3:DoubleParameter 4:DoubleParameter 5:DoubleParameter;
BoolParameter 1:v; LoopLayerParams 1:v 2:b 3:NeuralNetwork 4:NeuralNetwork; LoopBreakLayerParams;
LoopContinueLayerParams; RangeStaticLayerParams 1:f 2:f 3:f; RangeDynamicLayerParams 2:f 3:f; ClipLayerParams 1:f
2:f; CeilLayerParams; FloorLayerParams; SignLayerParams; RoundLayerParams; Exp2LayerParams; SinLayerParams;
CosLayerParams; TanLayerParams; AsinLayerParams; AcosLayerParams; AtanLayerParams; SinhLayerParams; CoshLayerParams;
TanhLayerParams; AsinhLayerParams; AcoshLayerParams; AtanhLayerParams; ErfLayerParams; GeluLayerParams 1:v;
EqualLayerParams 1:f; NotEqualLayerParams 1:f; LessThanLayerParams 2:f; LessEqualLayerParams 2:f;
GreaterThanLayerParams 2:f; GreaterEqualLayerParams 2:f; LogicalOrLayerParams; LogicalXorLayerParams;
LogicalNotLayerParams; LogicalAndLayerParams; ModBroadcastableLayerParams; MinBroadcastableLayerParams;
MaxBroadcastableLayerParams; AddBroadcastableLayerParams; PowBroadcastableLayerParams;
DivideBroadcastableLayerParams; FloorDivBroadcastableLayerParams; MultiplyBroadcastableLayerParams;
SubtractBroadcastableLayerParams; TileLayerParams 1:v*; StackLayerParams 1:v; GatherLayerParams 1:v;
ScatterLayerParams 1:v 2:v; GatherNDLayerParams; ScatterNDLayerParams 1:v; SoftmaxNDLayerParams 1:v;
GatherAlongAxisLayerParams 1:v; ScatterAlongAxisLayerParams 1:v 2:v; ReverseLayerParams 1:v*; ReverseSeqLayerParams
1:v 2:v; SplitNDLayerParams 1:v 2:v 3:v*; ConcatNDLayerParams 1:v 2:v; TransposeLayerParams 1:v*;
SliceStaticLayerParams 1:v* 2:v* 3:v* 4:v* 5:v* 6:v*; SliceDynamicLayerParams 2:v* 3:v* 4:v* 5:v* 6:v*;
SlidingWindowsLayerParams 1:v 2:v 3:v; TopKLayerParams 1:v 2:v 3:v; ArgMinLayerParams 1:v 2:v; ArgMaxLayerParams 1:v
2:v; EmbeddingNDLayerParams 1:v 2:v 3:v 20:WeightParams 21:WeightParams; BatchedMatMulLayerParams 1:v 2:v 5:v 6:v
7:v 8:WeightParams 9:WeightParams 10:v; GetShapeLayerParams; LoadConstantNDLayerParams 1:v* 2:WeightParams;
FillLikeLayerParams 1:f; FillStaticLayerParams 1:f 2:v*; FillDynamicLayerParams 1:f; BroadcastToLikeLayerParams;
BroadcastToStaticLayerParams 1:v*; BroadcastToDynamicLayerParams; SqueezeLayerParams 1:v* 2:v; ExpandDimsLayerParams
1:v*; FlattenTo2DLayerParams 1:v; ReshapeLikeLayerParams; ReshapeStaticLayerParams 1:v*; ReshapeDynamicLayerParams;
RankPreservingReshapeLayerParams 1:v*; ConstantPaddingLayerParams 1:f 2:v* 3:v; RandomNormalLikeLayerParams 1:v 2:f
3:f; RandomNormalStaticLayerParams 1:v 2:f 3:f 4:v*; RandomNormalDynamicLayerParams 1:v 2:f 3:f;
RandomUniformLikeLayerParams 1:v 2:f 3:f; RandomUniformStaticLayerParams 1:v 2:f 3:f 4:v*;
RandomUniformDynamicLayerParams 1:v 2:f 3:f; RandomBernoulliLikeLayerParams 1:v 2:f;
RandomBernoulliStaticLayerParams 1:v 2:f 3:v*; RandomBernoulliDynamicLayerParams 1:v 2:f;
CategoricalDistributionLayerParams 1:v 2:v 3:v 4:f 5:f; ReduceL1LayerParams 1:v* 2:v 3:v; ReduceL2LayerParams 1:v*
2:v 3:v; ReduceMaxLayerParams 1:v* 2:v 3:v; ReduceMinLayerParams 1:v* 2:v 3:v; ReduceSumLayerParams 1:v* 2:v 3:v;
ReduceProdLayerParams 1:v* 2:v 3:v; ReduceMeanLayerParams 1:v* 2:v 3:v; ReduceLogSumLayerParams 1:v* 2:v 3:v;
ReduceSumSquareLayerParams 1:v* 2:v 3:v; ReduceLogSumExpLayerParams 1:v* 2:v 3:v; WhereNonZeroLayerParams;
MatrixBandPartLayerParams 1:v 2:v; LowerTriangularLayerParams 1:v; UpperTriangularLayerParams 1:v;
WhereBroadcastableLayerParams; LayerNormalizationLayerParams 1:v* 2:f 3:WeightParams 4:WeightParams;
NonMaximumSuppressionLayerParams 1:f 2:f 3:v 4:v; OneHotLayerParams 1:v 2:v 3:f 4:f; CumSumLayerParams 1:v 2:v 3:v;
ClampedReLULayerParams 1:f 2:f; ArgSortLayerParams 1:v 2:v; Pooling3DLayerParams 1:v 2:v 3:v 4:v 5:v 6:v 7:v 15:v
8:v 9:v 10:v 11:v 12:v 13:v 14:v; GlobalPooling3DLayerParams 1:v; SliceBySizeLayerParams 2:v 3:v;
Convolution3DLayerParams 1:v 2:v 10:v 20:v 21:v 22:v 31:v 32:v 33:v 40:v 41:v 42:v 50:v 60:WeightParams
61:WeightParams 70:v 80:v 81:v 82:v 83:v 84:v 85:v 86:v 87:v*; BayesianProbitRegressor 1:v
2:BayesianProbitRegressor.Gaussian 3:BayesianProbitRegressor.FeatureWeight* 10:b 11:b 12:b 13:b 20:b 21:b 22:b 23:b;
BayesianProbitRegressor.Gaussian 1:d 2:d; BayesianProbitRegressor.FeatureWeight 1:v
2:BayesianProbitRegressor.FeatureValueWeight*; BayesianProbitRegressor.FeatureValueWeight 1:v
2:BayesianProbitRegressor.Gaussian; GLMClassifier 1:GLMClassifier.DoubleArray* 2:d* 3:v 4:v 100:StringVector
101:Int64Vector; GLMClassifier.DoubleArray 1:d*; StringVector 1:b*; Int64Vector 1:v*; SupportVectorClassifier
1:Kernel 2:v* 3:SparseSupportVectors 4:DenseSupportVectors 5:Coefficients* 6:d* 7:d* 8:d* 100:StringVector
101:Int64Vector; TreeEnsembleClassifier 1:TreeEnsembleParameters 2:v 100:StringVector 101:Int64Vector;
NeuralNetworkClassifier 1:NeuralNetworkLayer* 2:NeuralNetworkPreprocessing* 5:v 6:v 10:NetworkUpdateParameters
100:StringVector 101:Int64Vector 200:b; KNearestNeighborsClassifier 1:NearestNeighborsIndex 3:Int64Parameter
100:StringVector 101:Int64Vector 110:b 111:v 200:UniformWeighting 210:InverseDistanceWeighting;
NearestNeighborsIndex 1:v 2:FloatVector* 100:LinearIndex 110:SingleKdTreeIndex 200:SquaredEuclideanDistance;
FloatVector 1:f*; LinearIndex; SingleKdTreeIndex 1:v; SquaredEuclideanDistance; UniformWeighting;
InverseDistanceWeighting; ItemSimilarityRecommender 1:ItemSimilarityRecommender.SimilarItems* 2:StringVector
3:Int64Vector 10:b 11:b 12:b 13:b 20:b 21:b; ItemSimilarityRecommender.SimilarItems 1:v
2:ItemSimilarityRecommender.ConnectedItem* 3:d; ItemSimilarityRecommender.ConnectedItem 1:v 2:d; MILSpec.Program 1:v
2:MILSpec.Program.FunctionsEntry* 3:b 4:MILSpec.Program.AttributesEntry*; MILSpec.Program.FunctionsEntry 1:b
2:MILSpec.Function; MILSpec.Function 1:MILSpec.NamedValueType* 2:b 3:MILSpec.Function.BlockSpecializationsEntry*
4:MILSpec.Function.AttributesEntry*; MILSpec.NamedValueType 1:b 2:MILSpec.ValueType; MILSpec.ValueType
1:MILSpec.TensorType 2:MILSpec.ListType 3:MILSpec.TupleType 4:MILSpec.DictionaryType 5:MILSpec.StateType;
MILSpec.TensorType 1:v 2:v 3:MILSpec.Dimension* 4:MILSpec.TensorType.AttributesEntry*; MILSpec.Dimension
1:MILSpec.Dimension.ConstantDimension 2:MILSpec.Dimension.UnknownDimension; MILSpec.Dimension.ConstantDimension 1:v;
MILSpec.Dimension.UnknownDimension 1:v; MILSpec.TensorType.AttributesEntry 1:b 2:MILSpec.Value; MILSpec.Value 1:b
2:MILSpec.ValueType 3:MILSpec.Value.ImmediateValue 5:MILSpec.Value.BlobFileValue; MILSpec.Value.ImmediateValue
1:MILSpec.TensorValue 2:MILSpec.TupleValue 3:MILSpec.ListValue 4:MILSpec.DictionaryValue; MILSpec.TensorValue
1:MILSpec.TensorValue.RepeatedFloats 2:MILSpec.TensorValue.RepeatedInts 3:MILSpec.TensorValue.RepeatedBools
4:MILSpec.TensorValue.RepeatedStrings 5:MILSpec.TensorValue.RepeatedLongInts 6:MILSpec.TensorValue.RepeatedDoubles
7:MILSpec.TensorValue.RepeatedBytes; MILSpec.TensorValue.RepeatedFloats 1:f*; MILSpec.TensorValue.RepeatedInts 1:v*;
MILSpec.TensorValue.RepeatedBools 1:v*; MILSpec.TensorValue.RepeatedStrings 1:b*;
MILSpec.TensorValue.RepeatedLongInts 1:v*; MILSpec.TensorValue.RepeatedDoubles 1:d*;
MILSpec.TensorValue.RepeatedBytes 1:b; MILSpec.TupleValue 1:MILSpec.Value*; MILSpec.ListValue 1:MILSpec.Value*;
MILSpec.DictionaryValue 1:MILSpec.DictionaryValue.KeyValuePair*; MILSpec.DictionaryValue.KeyValuePair
1:MILSpec.Value 2:MILSpec.Value; MILSpec.Value.BlobFileValue 1:b 2:v; MILSpec.ListType 1:MILSpec.ValueType
2:MILSpec.Dimension; MILSpec.TupleType 1:MILSpec.ValueType*; MILSpec.DictionaryType 1:MILSpec.ValueType
2:MILSpec.ValueType; MILSpec.StateType 1:MILSpec.ValueType; MILSpec.Function.BlockSpecializationsEntry 1:b
2:MILSpec.Block; MILSpec.Block 1:MILSpec.NamedValueType* 2:b* 3:MILSpec.Operation* 4:MILSpec.Block.AttributesEntry*;
MILSpec.Operation 1:b 2:MILSpec.Operation.InputsEntry* 3:MILSpec.NamedValueType* 4:MILSpec.Block*
5:MILSpec.Operation.AttributesEntry*; MILSpec.Operation.InputsEntry 1:b 2:MILSpec.Argument; MILSpec.Argument
1:MILSpec.Argument.Binding*; MILSpec.Argument.Binding 1:b 2:MILSpec.Value; MILSpec.Operation.AttributesEntry 1:b
2:MILSpec.Value; MILSpec.Block.AttributesEntry 1:b 2:MILSpec.Value; MILSpec.Function.AttributesEntry 1:b
2:MILSpec.Value; MILSpec.Program.AttributesEntry 1:b 2:MILSpec.Value; CustomModel 10:b
30:CustomModel.ParametersEntry* 40:b; CustomModel.ParametersEntry 1:b 2:CustomModel.CustomModelParamValue;
CustomModel.CustomModelParamValue 10:d 20:b 30:v 40:v 50:v 60:b; LinkedModel 1:LinkedModelFile; LinkedModelFile
1:StringParameter 2:StringParameter; StringParameter 1:b; ClassConfidenceThresholding 100:PrecisionRecallCurve*;
PrecisionRecallCurve 1:FloatVector 2:FloatVector 3:FloatVector 4:FloatVector; OneHotEncoder 1:StringVector
2:Int64Vector 10:v 11:v; Imputer 1:d 2:v 3:b 4:DoubleVector 5:Int64Vector 6:StringToDoubleMap 7:Int64ToDoubleMap
11:d 12:v 13:b; DoubleVector 1:d*; StringToDoubleMap 1:StringToDoubleMap.MapEntry*; StringToDoubleMap.MapEntry 1:b
2:d; Int64ToDoubleMap 1:Int64ToDoubleMap.MapEntry*; Int64ToDoubleMap.MapEntry 1:v 2:d; FeatureVectorizer
1:FeatureVectorizer.InputColumn*; FeatureVectorizer.InputColumn 1:b 2:v; DictVectorizer 1:StringVector
2:Int64Vector; Scaler 1:d* 2:d*; CategoricalMapping 1:StringToInt64Map 2:Int64ToStringMap 101:b 102:v;
StringToInt64Map 1:StringToInt64Map.MapEntry*; StringToInt64Map.MapEntry 1:b 2:v; Int64ToStringMap
1:Int64ToStringMap.MapEntry*; Int64ToStringMap.MapEntry 1:v 2:b; Normalizer 1:v; ArrayFeatureExtractor 1:v*;
NonMaximumSuppression 1:NonMaximumSuppression.PickTop 100:StringVector 101:Int64Vector 110:d 111:d 200:b 201:b 202:b
203:b 210:b 211:b; NonMaximumSuppression.PickTop 1:v; Identity; CoreMLModels.TextClassifier 1:v 10:b 100:b
200:StringVector; CoreMLModels.WordTagger 1:v 10:b 20:b 21:b 22:b 23:b 100:b 200:StringVector;
CoreMLModels.VisionFeaturePrint 20:CoreMLModels.VisionFeaturePrint.Scene 21:CoreMLModels.VisionFeaturePrint.Objects;
CoreMLModels.VisionFeaturePrint.Scene 1:v; CoreMLModels.VisionFeaturePrint.Objects 1:v 100:b*;
CoreMLModels.SoundAnalysisPreprocessing 20:CoreMLModels.SoundAnalysisPreprocessing.Vggish;
CoreMLModels.SoundAnalysisPreprocessing.Vggish; CoreMLModels.Gazetteer 1:v 10:b 100:b 200:StringVector;
CoreMLModels.WordEmbedding 1:v 10:b 100:b; CoreMLModels.AudioFeaturePrint 20:CoreMLModels.AudioFeaturePrint.Sound;
CoreMLModels.AudioFeaturePrint.Sound 1:v; SerializedModel 1:b 2:b
""")
